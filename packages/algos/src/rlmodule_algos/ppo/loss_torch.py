"""PPO's loss in PyTorch.

Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rlmodule_algos.returns import MAX_LOG_RATIO
from rlmodule_torch.masking import constant, masked_mean, require_same_shape, squared_error, zero_padding


class PPOLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: Tensor
    policy_loss: Tensor
    vf_loss: Tensor
    entropy: Tensor
    mean_kl: Tensor
    clip_fraction: Tensor


def ppo_loss(
    *,
    logp: Tensor,  # [N] log pi(a|s), carries the gradient; all others here are [N] too
    old_logp: Tensor,
    advantages: Tensor,
    values: Tensor,  # V(s), carries the gradient
    old_values: Tensor,
    value_targets: Tensor,
    entropy: Tensor,  # carries the gradient
    kl: Tensor | None,  # KL(pi_old || pi), carries the gradient; None: no penalty, only an estimate
    mask: Tensor | None,  # True on real rows, False on padding; None: all are real
    clip_param: float,
    vf_clip_mode: str,
    vf_clip_param: float,
    vf_loss_coeff: float,
    entropy_coeff: float | Tensor,
    kl_coeff: float | Tensor,
) -> PPOLoss:
    """The clipped objective, negated for a minimizer."""
    require_same_shape(logp=logp, old_logp=old_logp, advantages=advantages, values=values, entropy=entropy)
    logp, old_logp, advantages, values, old_values, value_targets, entropy = zero_padding(
        mask, logp, old_logp, advantages, values, old_values, value_targets, entropy
    )
    log_ratio = torch.clamp(logp - old_logp, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = torch.exp(log_ratio)  # r_t(theta)
    clipped = torch.clamp(ratio, 1.0 - clip_param, 1.0 + clip_param)
    l_clip = masked_mean(torch.minimum(ratio * advantages, clipped * advantages), mask)  # (7)
    l_vf = masked_mean(value_error(values, old_values, value_targets, vf_clip_mode, vf_clip_param), mask)
    bonus = masked_mean(entropy, mask)  # S of (9)
    total = -(l_clip - vf_loss_coeff * l_vf + entropy_coeff * bonus)  # (9)
    if kl is None:
        mean_kl = masked_mean(constant(ratio) - 1.0 - constant(log_ratio), mask)
    else:
        (kl,) = zero_padding(mask, kl)
        mean_kl = masked_mean(kl, mask)
        total = total + kl_coeff * mean_kl  # (8)
    return PPOLoss(
        total_loss=total,
        policy_loss=-l_clip,
        vf_loss=l_vf,
        entropy=bonus,
        mean_kl=mean_kl,
        clip_fraction=masked_mean(torch.where(clipped == ratio, 0.0, 1.0), mask),
    )


def value_error(
    values: Tensor,  # [N]
    old_values: Tensor,  # [N]
    value_targets: Tensor,  # [N]
    mode: str,
    limit: float,
) -> Tensor:
    """L^VF of (9), `[N]`: the squared error, or one of its two clipped forms."""
    error = squared_error(values, value_targets)
    if mode == "error":  # no gradient where the error is large
        return torch.clamp(error, 0.0, limit)
    if mode == "value":  # the worse of the new value and one kept near the old
        near = old_values + torch.clamp(values - old_values, -limit, limit)
        return torch.maximum(error, squared_error(near, value_targets))
    return error
