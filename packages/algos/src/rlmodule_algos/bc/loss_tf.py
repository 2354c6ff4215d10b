"""BC's loss in TensorFlow.

Source: Pomerleau 1989, "ALVINN: an autonomous land vehicle in a neural network"
"""

from __future__ import annotations

from typing import NamedTuple

from tensorflow import Tensor

from rlmodule_tf.masking import constant, masked_mean, require_same_shape, zero_padding


class BCLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: Tensor
    logp: Tensor
    entropy: Tensor


def bc_loss(
    *,
    logp: Tensor,  # [N] log pi(a|s) of the recorded action, carries the gradient
    entropy: Tensor,  # [N] only told
    mask: Tensor | None,  # True on real rows, False on padding; None: all are real
) -> BCLoss:
    """-mean log pi(a|s): the recorded actions as the labels of their observations."""
    require_same_shape(logp=logp, entropy=entropy)
    logp, entropy = zero_padding(mask, logp, entropy)
    mean_logp = masked_mean(logp, mask)
    return BCLoss(
        total_loss=-mean_logp,
        logp=constant(mean_logp),
        entropy=masked_mean(constant(entropy), mask),
    )
