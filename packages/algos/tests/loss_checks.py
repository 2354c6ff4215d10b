"""What holds for the loss of every algorithm, in torch and, whole, on either framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.algorithm import Algorithm
from rlmodule_core.nest import Nest

Columns = dict[str, npt.NDArray[Any]]
Loss = Callable[..., Any]
"""(columns[, mask]) -> the loss, after `backward()`, and its inputs as tensors."""


def check_gradient(reference: Callable[[Columns], float], torch_loss: Loss, given: Columns, wrt: str) -> None:
    """The gradient equals finite differences of the reference, row by row."""
    _, tensors = torch_loss(given)
    size = len(given[wrt])
    slope = np.zeros(size)
    for n in range(size):
        step = np.zeros(size)
        step[n] = 1e-6
        up, down = (reference({**given, wrt: given[wrt] + sign * step}) for sign in (1, -1))
        slope[n] = (up - down) / 2e-6

    np.testing.assert_allclose(tensors[wrt].grad.numpy(), slope, rtol=1e-4, atol=1e-8)


def check_padding(torch_loss: Loss, given: Columns, real: int) -> None:
    """NaN in all but the first `real` rows, which the mask leaves out, changes neither loss nor gradient."""
    mask = np.arange(len(given["logp"])) < real
    short, short_tensors = torch_loss({name: column[:real] for name, column in given.items()})

    long, long_tensors = torch_loss({n: np.where(mask, c, np.nan) for n, c in given.items()}, mask)

    for field in long._fields:
        expected = getattr(short, field).item()
        np.testing.assert_allclose(getattr(long, field).item(), expected, rtol=1e-12, err_msg=field)
    gradient = long_tensors["logp"].grad.numpy()
    np.testing.assert_allclose(gradient[:real], short_tensors["logp"].grad.numpy(), rtol=1e-12)
    assert not gradient[real:].any()


def loss_and_gradient(
    algorithm: Algorithm[Any], batch: Mapping[str, Nest]
) -> tuple[npt.NDArray[Any], list[npt.NDArray[Any]]]:
    """Return every part of the loss, which are what is reported too, and the gradient of all weights."""
    module, bridge = algorithm.get_module(), algorithm.framework.bridge
    loss = algorithm.make_loss(module, algorithm.config, algorithm.framework)
    tensors = {name: bridge.to_tensors(column) for name, column in batch.items()}
    coefficients = {"lr": 0.0, "entropy_coeff": 0.01, "kl_coeff": 0.2}
    if algorithm.framework.name == "torch":
        import torch

        weights = list(module.parameters())  # type: ignore[attr-defined]
        parts = loss(tensors, coefficients)
        gradients = torch.autograd.grad(parts[0], weights)
    else:
        import tensorflow as tf

        weights = list(module.trainable_variables)  # type: ignore[attr-defined]
        with tf.GradientTape() as tape:
            parts = loss(tensors, coefficients)
        gradients = tape.gradient(parts[0], weights)
    found = np.array([float(bridge.to_numpy(part)) for part in parts], np.float64)
    return found, [np.asarray(bridge.to_numpy(gradient)) for gradient in gradients]
