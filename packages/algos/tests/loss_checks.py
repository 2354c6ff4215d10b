"""What holds for the loss of every algorithm, asked of its reference and of its function in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

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
