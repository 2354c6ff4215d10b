"""Settings as JSON data and back, exactly: tuples stay tuples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

Json: TypeAlias = Any  # what json.dumps takes: nested dicts, lists, str, int, float, bool, None

TUPLE = "__tuple__"


def to_json(value: object, path: str) -> Json:
    """Return a setting as JSON data. Raises ValueError that names the entry which has no such form."""
    if isinstance(value, np.generic):  # a number from NumPy comes back as Python's
        value = value.item()
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, tuple):
        return {TUPLE: to_json(list(value), path)}
    if isinstance(value, list):
        return [to_json(element, f"{path}[{index}]") for index, element in enumerate(value)]
    if isinstance(value, Mapping) and TUPLE not in value and all(isinstance(key, str) for key in value):
        return {key: to_json(element, f"{path}.{key}") for key, element in value.items()}
    raise ValueError(
        f"{path}: {value!r} ({type(value).__qualname__}) cannot be written to a file; settings are made of "
        "dicts with keys of type str, lists, tuples, str, int, finite float, bool and None"
    )


def from_json(value: Json) -> Any:
    """Return what `to_json` was given.

    >>> from_json(to_json({"filters": [(16, 4), (32, 2)]}, "model"))
    {'filters': [(16, 4), (32, 2)]}
    """
    if isinstance(value, list):
        return [from_json(element) for element in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {TUPLE} and isinstance(value[TUPLE], list):
        return tuple(from_json(element) for element in value[TUPLE])
    return {key: from_json(element) for key, element in value.items()}
