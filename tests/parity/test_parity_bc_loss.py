"""Behaviour cloning's loss: PyTorch against TensorFlow against NumPy, padding and sequences too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from rlmodule_algos.bc import loss_tf, loss_torch


@pytest.mark.parametrize("shape", [(16,), (4, 4)])
@pytest.mark.parametrize("padded", [False, True])
def test_bcs_loss_and_its_gradient_agree_with_padding_too(shape: tuple[int, ...], padded: bool) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < 0.7 if padded else np.ones(shape, np.bool_)
    given = {
        name: np.where(mask, rng.normal(size=shape), np.nan).astype(np.float32)
        for name in ("logp", "entropy")
    }

    ours: dict[str, Any] = {name: tf.constant(column) for name, column in given.items()}
    with tf.GradientTape() as tape:
        tape.watch(ours)
        tf_loss = loss_tf.bc_loss(**ours, mask=tf.constant(mask) if padded else None)
    gradients = tape.gradient(tf_loss.total_loss, ours)
    theirs: dict[str, Any] = {
        name: torch.tensor(column, requires_grad=True) for name, column in given.items()
    }
    torch_loss = loss_torch.bc_loss(**theirs, mask=torch.tensor(mask) if padded else None)
    torch_loss.total_loss.backward()

    logp, entropy = (float(given[name][mask].mean(dtype=np.float64)) for name in ("logp", "entropy"))
    assert tf_loss._fields == torch_loss._fields == ("total_loss", "logp", "entropy")
    for parts in (tf_loss, [part.detach() for part in torch_loss]):
        np.testing.assert_allclose([float(part) for part in parts], [-logp, logp, entropy], 1e-5, 1e-6)
    expected = np.where(mask, -1 / mask.sum(), 0.0)
    np.testing.assert_allclose(gradients["logp"], expected, 1e-5)
    np.testing.assert_allclose(theirs["logp"].grad, expected, 1e-5)
    assert gradients["entropy"] is None
    assert theirs["entropy"].grad is None
