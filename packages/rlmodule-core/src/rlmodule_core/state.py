"""State trees as flat names and back: `{"pi": {"0": {"bias": x}}}` and `{"pi.0.bias": x}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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

    The values are arrays or anything with a `shape`.
    """
    problems = [f"{name} is missing" for name in own if name not in new]
    problems += [f"{name} is not expected" for name in new if name not in own]
    problems += [
        f"{name} has shape {tuple(new[name].shape)}, expected {tuple(value.shape)}"
        for name, value in own.items()
        if name in new and tuple(new[name].shape) != tuple(value.shape)
    ]
    if problems:
        raise ValueError(f"{where}: the state does not fit: {'; '.join(problems)}")
