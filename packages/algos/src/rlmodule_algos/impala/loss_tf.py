"""IMPALA's loss in TensorFlow.

Source: Espeholt et al. 2018, https://arxiv.org/abs/1802.01561, section 4.2. The paper sums over steps;
these are means, so that the size of a batch does not change the size of a step.
"""

from __future__ import annotations

from typing import NamedTuple

from tensorflow import Tensor

from rlmodule_tf.masking import masked_mean, require_same_shape, squared_error, zero_padding


class ImpalaLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: Tensor
    policy_loss: Tensor
    vf_loss: Tensor
    entropy: Tensor


def impala_loss(
    *,
    logp: Tensor,  # [N] log pi(a|x), carries the gradient; all others here are [N] too
    advantages: Tensor,  # rho_s (r_s + gamma v_s+1 - V(x_s)), from V-trace
    values: Tensor,  # V(x), carries the gradient
    value_targets: Tensor,  # v_s of (1)
    entropy: Tensor,  # carries the gradient
    mask: Tensor | None,  # True on real rows, False on padding; None: all are real
    vf_loss_coeff: float,
    entropy_coeff: float | Tensor,
) -> ImpalaLoss:
    """The three parts of section 4.2, negated for a minimizer."""
    require_same_shape(logp=logp, advantages=advantages, values=values, entropy=entropy)
    logp, advantages, values, value_targets, entropy = zero_padding(
        mask, logp, advantages, values, value_targets, entropy
    )
    objective = masked_mean(logp * advantages, mask)  # its gradient is the policy gradient
    l_vf = 0.5 * masked_mean(squared_error(values, value_targets), mask)  # its gradient (V - v_s) grad V
    bonus = masked_mean(entropy, mask)
    total = -(objective - vf_loss_coeff * l_vf + entropy_coeff * bonus)
    return ImpalaLoss(total_loss=total, policy_loss=-objective, vf_loss=l_vf, entropy=bonus)
