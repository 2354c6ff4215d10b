"""State trees as flat names and back: `{"pi": {"0": {"bias": x}}}` and `{"pi.0.bias": x}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def nest_state(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Split dotted names into nested dicts.

    >>> nest_state({"pi.weight": 1, "pi.bias": 2, "scale": 3})
    {'pi': {'weight': 1, 'bias': 2}, 'scale': 3}
    """
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        node = nested
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return nested


def flatten_state(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join the keys of nested dicts with dots; the inverse of `nest_state`."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten_state(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check_same_state(own: Mapping[str, Any], new: Mapping[str, Any], *, where: str) -> None:
    """Raise ValueError that lists every missing, unexpected and misshapen entry of a flat state.

    Own values have a `shape`; new ones are to be arrays of numbers.
    """
    problems = [f"{name} is missing" for name in own if name not in new]
    problems += [f"{name} is not expected" for name in new if name not in own]
    for name in [name for name in own if name in new]:
        value, shape = new[name], tuple(own[name].shape)
        if not isinstance(value, (np.ndarray, np.generic)):
            problems.append(f"{name} is {type(value).__qualname__}, expected an array of numbers")
        elif value.dtype.kind not in "biuf":
            problems.append(f"{name} is an array of {value.dtype}, expected one of numbers")
        elif value.shape != shape:
            problems.append(f"{name} has shape {value.shape}, expected {shape}")
    if problems:
        raise ValueError(f"{where}: the state does not fit: {'; '.join(problems)}")
