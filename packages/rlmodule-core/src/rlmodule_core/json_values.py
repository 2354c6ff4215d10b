"""Settings as JSON data and back, exactly: tuples stay tuples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

Json: TypeAlias = Any  # what json.dumps takes: nested dicts, lists, str, int, float, bool, None

TUPLE = "__tuple__"


def to_json(value: Any, path: str) -> Json:
    """Return a setting as JSON data. Raises ValueError that names the entry which has no such form.

    Neither have the classes derived from JSON's own: a member of an IntEnum would come back as an int, a
    named tuple as a tuple, an OrderedDict as a dict. (A number of NumPy does come back as Python's.)
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if value is None or kind in (bool, str, int) or (kind is float and math.isfinite(value)):
        return value
    if kind is tuple:
        return {TUPLE: to_json(list(value), path)}
    if kind is list:
        return [to_json(element, f"{path}[{index}]") for index, element in enumerate(value)]
    if kind is dict and TUPLE not in value and all(type(key) is str for key in value):
        return {key: to_json(element, f"{path}.{key}") for key, element in value.items()}
    raise ValueError(
        f"{path}: {value!r} ({kind.__qualname__}) cannot be written to a file; settings are made of "
        "dicts with keys of type str, lists, tuples, str, int, finite float, bool and None"
        + _plain_form(value)
    )


def _plain_form(value: object) -> str:
    """Say what to write in place of a class that is derived from one of JSON's, or is a mapping."""
    kinds = {"dict": Mapping, "list": list, "tuple": tuple, "str": str, "int": int, "float": float}
    for name, kind in kinds.items():
        if isinstance(value, kind) and type(value).__name__ != name:
            return f"; as a {type(value).__qualname__} it would come back as a {name}: pass {name}(...) of it"
    return ""


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
