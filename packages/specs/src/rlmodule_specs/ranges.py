"""The values of a tensor against its limits. Reading values costs time: only on request."""

import math
from typing import Any

from rlmodule_specs.frameworks import framework_of
from rlmodule_specs.tensor_spec import TensorSpec

__all__ = ["limits", "limits_text", "values_problem"]


def limits(spec: TensorSpec) -> tuple[float, float] | None:
    """The lowest and the highest value that are allowed; None where any is.

    >>> limits(TensorSpec("b").within(low=0)), limits(TensorSpec("b").one_of(5))
    ((0, inf), (0, 4))
    """
    if spec.low is None and spec.high is None and spec.classes is None:
        return None
    low = -math.inf if spec.low is None else spec.low
    high = math.inf if spec.high is None else spec.high
    return (low, high) if spec.classes is None else (max(low, 0), min(high, spec.classes - 1))


def limits_text(spec: TensorSpec) -> str:
    """The limits as a message ends.

    >>> limits_text(TensorSpec("b").one_of(5))
    ' with values in [0, 4]'
    """
    allowed = limits(spec)
    return "" if allowed is None else f" with values in [{allowed[0]}, {allowed[1]}]"


def values_problem(spec: TensorSpec, value: object) -> str | None:
    """What is wrong with the values of a tensor, None where nothing is.

    Values that do not exist yet, in a graph that is being traced, are not refused.
    """
    allowed = limits(spec)
    numbers: Any = None if allowed is None else _readable(value)
    if allowed is None or numbers is None:
        return None
    low, high = numbers.min().item(), numbers.max().item()
    if isinstance(low, int):  # compared exactly; what is not whole, in the precision of the tensor
        fits = allowed[0] <= low and high <= allowed[1]
    else:
        fits = bool(((numbers >= allowed[0]) & (numbers <= allowed[1])).all())
    if fits:
        return None
    return "values with NaN among them" if low != low or high != high else f"values from {low} to {high}"


def _readable(value: object) -> object | None:
    """What has the methods of an array; None for no values and for values that a graph does not know yet."""
    if framework_of(value) == "tf":
        value = value.numpy() if hasattr(value, "numpy") else None
    return None if value is None or 0 in getattr(value, "shape") else value  # noqa: B009 - `object` has none
