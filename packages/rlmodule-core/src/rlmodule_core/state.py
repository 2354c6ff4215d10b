"""State trees as flat names and back: `{"pi": {"0": {"bias": x}}}` and `{"pi.0.bias": x}`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

BFLOAT16_TOP = 2.0**127 * (2 - 2.0**-8)  # from here on a number is rounded to infinity
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
    """Join the keys of nested dicts with dots; the inverse of `nest_state`. ValueError for anything else."""
    if not isinstance(nested, Mapping):
        raise ValueError(
            "a state is a nested dict of NumPy arrays, as get_state() returns it, got "
            f"{nested!r:.40} ({type(nested).__qualname__})"
        )
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten_state(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def flatten_states(states: Mapping[str, Any], *, where: str) -> dict[str, dict[str, Any]]:
    """Flatten each state of `{module id: state}`. Raises ValueError that names the one that is none."""
    if not isinstance(states, Mapping):
        raise ValueError(f"{where}: expected {{module id: state}}, got {type(states).__qualname__}")
    flat = {}
    for key, state in states.items():
        try:
            flat[key] = flatten_state(state)
        except ValueError as error:
            raise ValueError(f"{where}: {key}: {error}") from None
    return flat


def check_initial_state(state: object, *, where: str) -> None:
    """Raise ValueError that lists what of a state, as an episode begins with it, is no array of numbers."""
    if not isinstance(state, dict):
        raise ValueError(
            f"{where}: expected a nested dict of NumPy arrays without batch axis, {{}} for a module that "
            f"remembers nothing, got {type(state).__qualname__}"
        )
    problems = [
        f"{name}: expected a NumPy array of numbers, got {_kind(leaf)}"
        for name, leaf in flatten_state(state).items()
        if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind not in "biufc"
    ]
    if problems:
        raise ValueError(
            f"{where}: {'; '.join(problems)}; whoever calls the module makes batches of it in its framework"
        )


def _kind(value: object) -> str:
    kind = type(value)
    if isinstance(value, np.ndarray):
        return f"one of {value.dtype}"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def check_same_state(own: Mapping[str, Any], new: Mapping[str, Any], *, where: str) -> None:
    """Raise ValueError that lists every missing, unexpected, misshapen or contradicting entry of a state.

    Own values are the live tensors, one object under several names where they are tied; new ones are to
    be arrays of numbers that the dtypes of the tensors can hold.
    """
    problems = [f"{name} is missing" for name in own if name not in new]
    problems += [f"{name} is not expected" for name in new if name not in own]
    for name in [name for name in own if name in new]:
        value, shape = new[name], tuple(own[name].shape)
        if not isinstance(value, (np.ndarray, np.generic)):
            problems.append(f"{name} is {type(value).__qualname__}, expected an array of numbers")
        elif value.dtype.kind not in "biufc":
            problems.append(f"{name} is an array of {value.dtype}, expected one of numbers")
        elif value.shape != shape:
            problems.append(f"{name} has shape {value.shape}, expected {shape}")
        elif lost := _lost(value, _dtype_name(own[name])):
            problems.append(f"{name} {lost}")
    problems += tie_problems(own, new)
    if problems:
        raise ValueError(f"{where}: the state does not fit: {'; '.join(problems)}")


def as_dtype(value: Any, dtype: str) -> np.ndarray[Any, Any]:
    """Return a new array in a dtype's native form; for bfloat16, which NumPy lacks, in float32.

    >>> as_dtype(np.array([1.0, 2.0], ">f8"), "int32")
    array([1, 2], dtype=int32)
    """
    with np.errstate(all="ignore"):
        array = np.asarray(value)
        array = array.real if array.dtype.kind == "c" and not dtype.startswith("complex") else array
        return array.astype("float32" if dtype == "bfloat16" else dtype, order="C")


def _lost(value: Any, dtype: str | None) -> str | None:
    """Say what a dtype cannot hold of an array, or return None; that a float is rounded is no loss."""
    if dtype is None or value.dtype.name == dtype:
        return None
    array, cast = np.asarray(value), as_dtype(value, dtype)
    if cast.dtype.kind in "biu" or (array.dtype.kind == "c" and cast.dtype.kind != "c"):
        lost = cast != array
    else:
        top = BFLOAT16_TOP if dtype == "bfloat16" else np.inf
        lost = np.isfinite(array) & ~(np.isfinite(cast) & (np.abs(cast) < top))
    if not lost.any():
        return None
    return f"holds {array[lost][0]}, which {dtype} cannot hold: it would become {cast[lost][0]}"


def _dtype_name(tensor: Any) -> str | None:
    dtype = getattr(tensor, "dtype", None)
    return None if dtype is None else str(getattr(dtype, "name", dtype)).removeprefix("torch.")


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
