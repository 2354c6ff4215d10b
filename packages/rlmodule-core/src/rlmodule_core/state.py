"""State trees as flat names and back: `{"pi": {"0": {"bias": x}}}` and `{"pi.0.bias": x}`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name", bound=Hashable)  # dotted names, or places in several modules


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
    """Raise ValueError that lists every missing, unexpected, misshapen or contradicting entry of a state.

    Own values are the live tensors, one object under several names where they are tied; new ones are to
    be arrays of numbers.
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
    problems += tie_problems(own, new)
    if problems:
        raise ValueError(f"{where}: the state does not fit: {'; '.join(problems)}")


def tied_names(tensors: Mapping[Name, Any]) -> dict[Name, Name]:
    """Return, for each name of a tensor that has an earlier one, that earlier name.

    >>> x = object()
    >>> tied_names({"a": x, "b": object(), "c": x})
    {'c': 'a'}
    """
    first: dict[int, Name] = {}
    found = {name: first.setdefault(id(tensor), name) for name, tensor in tensors.items()}
    return {name: earlier for name, earlier in found.items() if earlier != name}


def tie_problems(tensors: Mapping[Name, Any], new: Mapping[Name, Any]) -> list[str]:
    """Say which entries give one tensor two values."""
    return [
        f"{name} is the same tensor as {earlier}, but its values differ"
        for name, earlier in tied_names(tensors).items()
        if name in new and earlier in new and not _equal(new[name], new[earlier])
    ]


def with_ties(tensors: Mapping[Name, Any], arrays: Mapping[Name, Any]) -> dict[Name, Any]:
    """Return flat arrays in which a tied tensor is one array under all of its names."""
    tied = tied_names(tensors)
    return {name: arrays[tied.get(name, name)] for name in arrays}


def _equal(one: object, other: object) -> bool:
    return one is other or np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)
