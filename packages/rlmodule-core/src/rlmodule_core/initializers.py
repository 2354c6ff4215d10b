"""Initial weights, drawn once in NumPy, so that every framework starts from the same numbers.

Weights are `[outputs, inputs]`, as in `y = W x + b`.
Source: Saxe et al. 2014, https://arxiv.org/abs/1312.6120 (orthogonal weights).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

_generator: ContextVar[np.random.Generator | None] = ContextVar("initial_weights", default=None)


@contextmanager
def initial_weights_from(seed: int | np.random.Generator | None) -> Iterator[None]:
    """Draw the weights of every layer built inside from one generator; None leaves it to the framework."""
    token = _generator.set(None if seed is None else np.random.default_rng(seed))
    try:
        yield
    finally:
        _generator.reset(token)


def current_generator() -> np.random.Generator | None:
    """Return the generator of the innermost `initial_weights_from`, or None outside of one."""
    return _generator.get()


def orthogonal(
    rng: np.random.Generator, outputs: int, inputs: int, *, gain: float
) -> npt.NDArray[np.float32]:
    """Return `[outputs, inputs]` with orthogonal rows or columns, times `gain`.

    >>> w = orthogonal(np.random.default_rng(0), 2, 3, gain=2.0)
    >>> bool(np.allclose(w @ w.T, 4.0 * np.eye(2), atol=1e-6))
    True
    """
    rows, columns = max(outputs, inputs), min(outputs, inputs)
    q, r = np.linalg.qr(rng.standard_normal((rows, columns)))
    q = q * np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
    return np.ascontiguousarray(gain * (q if outputs >= inputs else q.T), dtype=np.float32)
