"""The single values that a tensor of some dtype may hold."""

from random import Random

from rlmodule_specs.ranges import limits
from rlmodule_specs.tensor_spec import TensorSpec

__all__ = ["bounds", "draw", "kind"]

DEFAULT_DTYPE = "float32"
SPAN = 10  # whole numbers that are drawn where nothing limits them


def kind(spec: TensorSpec) -> type:
    """bool, int, float or complex: the Python type of the values.

    >>> kind(TensorSpec("b", dtype="uint8"))
    <class 'int'>
    """
    dtype = spec.dtype or DEFAULT_DTYPE
    for prefix, found in (("bool", bool), ("int", int), ("uint", int), ("float", float), ("bfloat", float)):
        if dtype.startswith(prefix):
            return found
    if dtype.startswith("complex"):
        return complex
    raise ValueError(f"values of dtype {dtype!r} cannot be made")


def bounds(spec: TensorSpec) -> tuple[int, int]:
    """The lowest and the highest whole number that both the dtype and the limits allow.

    >>> bounds(TensorSpec("b", dtype="int8")), bounds(TensorSpec("b", dtype="int64").one_of(5))
    ((-128, 127), (0, 4))
    """
    dtype = spec.dtype or DEFAULT_DTYPE
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    least, most = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    low, high = limits(spec) or (least, most)
    low, high = max(low, least), min(high, most)
    first, last = -int(-low // 1), int(high // 1)
    if first > last:
        raise ValueError(f"no {dtype} is within {limits(spec)}")
    return first, last


def draw(spec: TensorSpec, random: Random) -> complex:
    """One random value that the dtype and the limits allow."""
    values = kind(spec)
    if values is bool:
        return random.random() < 0.5
    if values is int:
        low, high = bounds(spec)
        start = max(low, 0 if high >= 0 else high - SPAN + 1)
        return random.randint(start, min(high, start + SPAN - 1))
    if values is complex:
        return complex(random.gauss(0, 1), random.gauss(0, 1))
    low_limit, high_limit = limits(spec) or (-1.0, 1.0)
    if low_limit == float("-inf"):
        low_limit = high_limit - 1.0
    if high_limit == float("inf"):
        high_limit = low_limit + 1.0
    return random.uniform(low_limit, high_limit)
