"""Numbers that the distributions of every framework compute with, made once in NumPy."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

T = TypeVar("T")
Bound: TypeAlias = float | tuple[float, ...]
"""One number for all components of a value, or one for each."""

LOG_TWO = math.log(2.0)
LOG_TWO_PI = math.log(2.0 * math.pi)

# Nodes and weights of an expectation under the standard normal, by the trapezoidal rule. For a smooth
# function its error falls exponentially with 1 / spacing; see `SquashedGaussian.entropy` for figures.
_NODES = np.linspace(-6.4, 6.4, 33)
_DENSITIES = np.exp(-0.5 * _NODES**2)
NODES: tuple[float, ...] = tuple(_NODES.tolist())
WEIGHTS: tuple[float, ...] = tuple((_DENSITIES / _DENSITIES.sum()).tolist())


def lowest_logp(largest: float) -> float:
    """Return what stands for log 0 in sums; `largest` is the dtype's largest finite number.

    The square root leaves room: sums and products of such numbers are finite still.
    """
    return -math.sqrt(largest)


def forbidding_logits(lowest: float) -> tuple[float, float]:
    """Return the logit of a forbidden class, and the least of an allowed one, for a dtype's lowest number.

    The log-probability of a forbidden class is about that logit. It leaves room for sums of them, over
    components and over a batch, and for five in half precision, which has less.

    >>> forbidding_logits(-3.4e38) == (-(2.0**64), -(2.0**63))
    True
    """
    forbidden = max(-(2.0**64), lowest / 6)
    return forbidden, forbidden / 2


class AffineMap(NamedTuple):
    """`x -> shift + scale x` takes [-1, 1] to [low, high]; numbers, or tuples of one for each component."""

    low: Bound
    high: Bound
    scale: Bound
    shift: Bound

    def log_volume(self, size: int) -> float:
        """Return the sum of log(scale) over `size` components."""
        if isinstance(self.scale, tuple):
            return sum([math.log(scale) for scale in self.scale])
        return size * math.log(self.scale)


def affine_map(low: Bound, high: Bound) -> AffineMap:
    """Return the map onto the bounds. Raises ValueError unless they are finite and in order.

    Raises TypeError for an array of bounds: settings are compared, and kept with the graphs of a framework.
    In plain Python, and without a cache, so that a compiler of graphs sees constants.

    >>> affine_map(-1.0, (1.0, 3.0)).scale
    (1.0, 2.0)
    """
    size = next((len(bound) for bound in (low, high) if isinstance(bound, tuple)), None)
    try:
        lows, highs = (_components(bound, 1 if size is None else size) for bound in (low, high))
    except TypeError:
        raise TypeError(
            f"bounds must be numbers or tuples of numbers, got low={low}, high={high}; write "
            "tuple(space.low.ravel().tolist()), or make the distribution with from_inputs(inputs, space)"
        ) from None
    pairs = list(zip(lows, highs, strict=False))
    if len(lows) != len(highs) or not all(-math.inf < below < above < math.inf for below, above in pairs):
        raise ValueError(
            f"bounds must be finite, with low below high for each component, got low={low}, high={high}"
        )
    scale = tuple([0.5 * above - 0.5 * below for below, above in pairs])
    shift = tuple([0.5 * above + 0.5 * below for below, above in pairs])
    if size is None:
        return AffineMap(lows[0], highs[0], scale[0], shift[0])
    return AffineMap(lows, highs, scale, shift)


def _components(bound: Bound, size: int) -> tuple[float, ...]:
    if isinstance(bound, tuple):
        return tuple([float(number) for number in bound])
    if hasattr(bound, "__len__"):
        raise TypeError
    return (float(bound),) * size


@lru_cache(maxsize=256)
def padding_index(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return where each of `len(sizes) * max(sizes)` padded logits stands in the flat ones.

    Padding points one behind the last.

    >>> padding_index((1, 3))
    (0, 4, 4, 1, 2, 3)
    """
    total, widest = sum(sizes), max(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(
        start + j if j < size else total
        for start, size in zip(starts, sizes, strict=True)
        for j in range(widest)
    )


def logits_of(kind: type, inputs: T | None, logits: T | None) -> T:
    """Return what a Categorical was given, under the name that all distributions have or its own.

    Raises ValueError for the logits of no class at all: an empty last axis, or a scalar.

    >>> logits_of(object, None, 3)
    3
    """
    given = logits if inputs is None else inputs
    if given is None or (inputs is not None and logits is not None):
        raise TypeError(f"{kind.__name__}: expected the logits once, as the first argument or as logits=")
    if last_size(given) == 0:
        shape = list(getattr(given, "shape"))  # noqa: B009 - it has one, or it would have no size
        raise ValueError(f"{kind.__name__}: expected logits [*batch, n] of n >= 1 classes, got shape {shape}")
    return given


def last_size(inputs: Any) -> int | None:
    """Return the size of the last axis: 0 of a scalar, None where a graph does not know it."""
    try:
        size: int | None = inputs.shape[-1]
    except IndexError:
        return 0
    except AttributeError:  # what goes through tf.nest in the place of a tensor
        return None
    return size
