"""APPO's loss in PyTorch.

Sources: Luo et al. 2020, "IMPACT", https://arxiv.org/abs/1912.00167, section 3: the clipped target
ratio; Schulman et al. 2017, "PPO", https://arxiv.org/abs/1707.06347: the equations in round brackets.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from rlmodule_algos.returns import MAX_LOG_RATIO
from rlmodule_torch.masking import constant, masked_mean, require_same_shape, squared_error, zero_padding


class APPOLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: Tensor
    policy_loss: Tensor
    vf_loss: Tensor
    entropy: Tensor
    mean_kl: Tensor
    clip_fraction: Tensor


def appo_loss(
    *,
    logp: Tensor,  # [N] log pi(a|x), carries the gradient; all others here are [N] too
    old_logp: Tensor,  # log mu(a|x) of the policy that acted
    target_logp: Tensor,  # log pi_T(a|x) of the target network
    advantages: Tensor,  # from V-trace with pi_T/mu
    values: Tensor,  # V(x), carries the gradient
    value_targets: Tensor,  # from V-trace with pi_T/mu
    entropy: Tensor,  # carries the gradient
    kl: Tensor | None,  # KL(pi_T || pi), carries the gradient; None: no penalty, only an estimate
    mask: Tensor | None,  # True on real rows, False on padding; None: all are real
    clip_param: float,
    target_worker_clipping: float,
    vf_loss_coeff: float,
    entropy_coeff: float | Tensor,
    kl_coeff: float | Tensor,
) -> APPOLoss:
    """PPO's clipped objective with IMPACT's ratio, negated for a minimizer."""
    require_same_shape(logp=logp, old_logp=old_logp, target_logp=target_logp, advantages=advantages)
    require_same_shape(logp=logp, values=values, entropy=entropy)
    logp, old_logp, target_logp, advantages, values, value_targets, entropy = zero_padding(
        mask, logp, old_logp, target_logp, advantages, values, value_targets, entropy
    )
    worker = torch.clamp(old_logp - target_logp, -math.inf, math.log(target_worker_clipping))
    # log of min(mu/pi_T, rho) pi/mu: of pi/pi_T unless mu/pi_T is above rho
    log_ratio = torch.clamp(worker + logp - old_logp, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    ratio = torch.exp(log_ratio)
    clipped = torch.clamp(ratio, 1.0 - clip_param, 1.0 + clip_param)
    l_clip = masked_mean(torch.minimum(ratio * advantages, clipped * advantages), mask)  # (7)
    l_vf = 0.5 * masked_mean(squared_error(values, value_targets), mask)
    bonus = masked_mean(entropy, mask)  # S of (9)
    total = -(l_clip - vf_loss_coeff * l_vf + entropy_coeff * bonus)  # (9)
    if kl is None:
        moved = torch.clamp(constant(logp) - target_logp, -MAX_LOG_RATIO, MAX_LOG_RATIO)
        mean_kl = masked_mean(torch.exp(moved) - 1.0 - moved, mask)
    else:
        (kl,) = zero_padding(mask, kl)
        mean_kl = masked_mean(kl, mask)
        total = total + kl_coeff * mean_kl  # (8)
    return APPOLoss(
        total_loss=total,
        policy_loss=-l_clip,
        vf_loss=l_vf,
        entropy=bonus,
        mean_kl=mean_kl,
        clip_fraction=masked_mean(torch.where(clipped == ratio, 0.0, 1.0), mask),
    )
