"""Gymnasium spaces as specs and as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlmodule_core.json_values import Json
from rlmodule_core.nest import Nest
from rlmodule_specs import SpecType, TensorSpec


class UnsupportedSpaceError(ValueError):
    """A space that the place which met it cannot handle; the message says what to do."""

    def __init__(self, space: object, *, where: str, known: str, fix: str) -> None:
        super().__init__(f"{where}: {space} is not supported. Known are: {known}. {fix}.")


def leaf_shape(space: gym.Space[Any]) -> tuple[int, ...] | None:
    """Return the shape of one sample of a space that holds arrays, else None."""
    match space:
        case spaces.Box() | spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            return tuple(space.shape or ())
    return None


def nest_of_spaces(space: gym.Space[Any]) -> Nest:
    """Return the spaces that are no Dict and no Tuple, nested as their samples are.

    >>> nest_of_spaces(spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2)])}))
    {'a': (Discrete(2),)}
    """
    match space:
        case spaces.Dict():
            return {key: nest_of_spaces(child) for key, child in space.spaces.items()}
        case spaces.Tuple():
            return tuple(nest_of_spaces(child) for child in space.spaces)
    return space


def spec_from_space(space: gym.Space[Any], *, framework: str | None = None) -> SpecType:
    """Return what a batch of the space's samples must look like: its structure and trailing sizes.

    Any leading dimensions may stand before them (`[B]`, `[B, T]`). A space that does not hold
    arrays (Text, Graph, Sequence, OneOf) is not checked.

    >>> spec_from_space(spaces.Box(-1, 1, (4,)), framework="torch")
    TensorSpec('..., 4', framework='torch')
    """
    match space:
        case spaces.Dict():
            return {key: spec_from_space(child, framework=framework) for key, child in space.spaces.items()}
        case spaces.Tuple():
            parts = [spec_from_space(child, framework=framework) for child in space.spaces]
            return dict(enumerate(parts)) or None  # an empty tuple has nothing to check
    shape = leaf_shape(space)
    if shape is None:
        return None
    return TensorSpec(", ".join(["...", *map(str, shape)]), framework=framework)


def with_plain_sizes(space: Any) -> Any:
    """Return an equal space whose `Discrete.n`, at any depth, is Python's int; others as they are.

    >>> type(with_plain_sizes(spaces.Discrete(3)).n)
    <class 'int'>
    """
    match space:
        case spaces.Discrete() if type(space.n) is not int:
            discrete: Any = copy(space)  # the environment keeps its own
            discrete.n = int(space.n)
            return discrete
        case spaces.Dict() | spaces.Tuple():
            nested: Any = space.spaces
            pairs = nested.items() if isinstance(nested, dict) else enumerate(nested)
            plain = {key: with_plain_sizes(child) for key, child in pairs}
            if all(child is nested[key] for key, child in plain.items()):
                return space
            copied: Any = copy(space)
            copied.spaces = plain if isinstance(nested, dict) else tuple(plain.values())
            return copied
    return space


def space_to_dict(space: gym.Space[Any]) -> Json:
    """Return the space as JSON data that `space_from_dict` turns back into an equal space.

    Raises UnsupportedSpaceError for spaces without such a form.
    """
    match space:
        case spaces.Box():
            bounds = {"low": _array_to_json(space.low), "high": _array_to_json(space.high)}
            return {"type": "Box", "shape": list(space.shape), "dtype": _dtype_name(space), **bounds}
        case spaces.Discrete():
            return {
                "type": "Discrete",
                "n": int(space.n),
                "start": int(space.start),
                "dtype": _dtype_name(space),
            }
        case spaces.MultiDiscrete():
            values = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
            return {"type": "MultiDiscrete", "dtype": _dtype_name(space), **values}
        case spaces.MultiBinary():
            size = space.n if isinstance(space.n, int) else list(map(int, space.n))
            return {"type": "MultiBinary", "n": size}
        case spaces.Dict() if all(isinstance(key, str) for key in space.spaces):  # as JSON's keys are
            children = {key: space_to_dict(child) for key, child in space.spaces.items()}
            return {"type": "Dict", "spaces": children}
        case spaces.Tuple():
            return {"type": "Tuple", "spaces": [space_to_dict(child) for child in space.spaces]}
    raise UnsupportedSpaceError(
        space,
        where="space_to_dict",
        known="Box, Discrete, MultiDiscrete, MultiBinary, Dict (with keys of type str), Tuple",
        fix="Wrap the environment so that it uses one of these",
    )


def space_from_dict(data: Mapping[str, Json]) -> gym.Space[Any]:
    """Return the space that `space_to_dict` wrote. Raises ValueError for anything else."""
    try:
        return _space_from_dict(data)
    except UnsupportedSpaceError:
        raise
    except Exception as error:  # NumPy and gymnasium raise anything: SyntaxError for a dtype, MemoryError
        raise ValueError(f"not a space written by space_to_dict: {str(data)[:200]} ({error!r})") from error


def _space_from_dict(data: Mapping[str, Json]) -> gym.Space[Any]:
    match data["type"]:
        case "Box":
            dtype = np.dtype(data["dtype"]).type
            low, high = (_array_from_json(data[key], dtype, data["shape"]) for key in ("low", "high"))
            return spaces.Box(low, high, dtype=dtype)
        case "Discrete":
            return spaces.Discrete(data["n"], start=data["start"], dtype=np.dtype(data["dtype"]).type)
        case "MultiDiscrete":
            dtype = np.dtype(data["dtype"]).type
            return spaces.MultiDiscrete(np.array(data["nvec"]), dtype=dtype, start=np.array(data["start"]))
        case "MultiBinary":
            return spaces.MultiBinary(data["n"])
        case "Dict":
            # pairs keep their order, a dict would be sorted
            return spaces.Dict([(key, space_from_dict(child)) for key, child in data["spaces"].items()])
        case "Tuple":
            return spaces.Tuple([space_from_dict(child) for child in data["spaces"]])
    raise ValueError(f"unknown kind of space {data['type']!r}")


def _dtype_name(space: gym.Space[Any]) -> str:
    return np.dtype(space.dtype).name if space.dtype is not None else "float32"


def _array_to_json(array: np.ndarray[Any, Any]) -> Json:
    """A bound is mostly one number; written as such it stays readable. Infinities become words."""
    flat = array.ravel()
    if flat.size and (flat == flat[0]).all():
        return _number_to_json(flat[0].item())
    return [_number_to_json(number) for number in flat.tolist()]


def _array_from_json(data: Json, dtype: type, shape: list[int]) -> np.ndarray[Any, Any]:
    numbers = [float(n) if isinstance(n, str) else n for n in (data if isinstance(data, list) else [data])]
    flat: np.ndarray[Any, Any] = np.array(numbers, dtype=dtype)
    return np.full(shape, flat[0]) if flat.size == 1 else flat.reshape(shape)


def _number_to_json(number: float | int) -> Json:
    return str(number) if number in (float("inf"), float("-inf")) else number
