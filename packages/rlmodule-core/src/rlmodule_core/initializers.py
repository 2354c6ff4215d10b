"""Initial weights, drawn once in NumPy, so that every framework starts from the same numbers.

Weights are `[outputs, inputs]`, as in `y = W x + b`, or `[outputs, inputs, *kernel]`.
Sources: Saxe et al. 2014, https://arxiv.org/abs/1312.6120 (orthogonal); Glorot and Bengio 2010 (xavier);
He et al. 2015, https://arxiv.org/abs/1502.01852 (kaiming).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from rlmodule_core.blas_threads import one_blas_thread

InitializerName: TypeAlias = Literal[
    "orthogonal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"
]
INITIALIZER_NAMES: tuple[str, ...] = get_args(InitializerName)

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


def initial_weights(
    name: str, rng: np.random.Generator, shape: tuple[int, ...], *, gain: float
) -> npt.NDArray[np.float32]:
    """Return `shape`, `[outputs, inputs, *kernel]`, drawn as the InitializerName says, times `gain`.

    `orthogonal`: rows or columns are, of the matrix `[outputs, inputs * kernel]`.
    `xavier_*`: variance `2 / (fan in + fan out)`. `kaiming_*`: variance `1 / fan in`, so that a gain of
    sqrt 2 gives He's. Raises ValueError for an unknown name.

    >>> w = initial_weights("orthogonal", np.random.default_rng(0), (2, 3), gain=2.0)
    >>> bool(np.allclose(w @ w.T, 4.0 * np.eye(2), atol=1e-6))
    True
    """
    outputs, *rest = shape
    fan_in, fan_out = math.prod(rest), outputs * math.prod(rest[1:])
    if name == "orthogonal":
        return _orthogonal(rng, outputs, fan_in, gain).reshape(shape)
    if name not in INITIALIZER_NAMES:
        raise ValueError(f"initializer: expected one of {', '.join(INITIALIZER_NAMES)}, got {name!r}")
    deviation = gain * math.sqrt(2.0 / (fan_in + fan_out) if name.startswith("xavier") else 1.0 / fan_in)
    if name.endswith("uniform"):
        limit = math.sqrt(3.0) * deviation
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    return (deviation * rng.standard_normal(shape)).astype(np.float32)


def recurrent_weights(
    name: str, rng: np.random.Generator, *, gates: int, inputs: int, hidden: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the weights of a recurrent layer, `[gates * hidden, inputs]` and `[gates * hidden, hidden]`.

    Each gate's are drawn on their own.
    """
    from_inputs = [initial_weights(name, rng, (hidden, inputs), gain=1.0) for _ in range(gates)]
    from_hidden = [initial_weights(name, rng, (hidden, hidden), gain=1.0) for _ in range(gates)]
    return np.concatenate(from_inputs), np.concatenate(from_hidden)


def _orthogonal(rng: np.random.Generator, outputs: int, inputs: int, gain: float) -> npt.NDArray[np.float32]:
    rows, columns = max(outputs, inputs), min(outputs, inputs)
    normal = rng.standard_normal((rows, columns))
    with one_blas_thread():
        q, r = np.linalg.qr(normal)
    q = q * np.sign(np.diag(r))  # makes the draw uniform over orthogonal matrices
    return np.ascontiguousarray(gain * (q if outputs >= inputs else q.T), dtype=np.float32)
