"""Nested structures of arrays: the one typed door to dm-tree.

A `Nest` is an array or a dict, tuple or list of nests, as gymnasium's nested spaces sample them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
import tree

Nest: TypeAlias = Any  # recursive types over foreign tensors cannot be written precisely
T = TypeVar("T")


def map_nest(function: Callable[..., Any], *nests: Nest) -> Nest:
    """Apply `function` to the matching leaves of nests of equal structure."""
    first = nests[0]
    if not isinstance(first, (dict, tuple, list)):  # most observations are one array
        return function(*nests)
    return tree.map_structure(function, *nests)


def leaves(nest: Nest) -> list[Any]:
    """Return the leaves in a fixed order, dict keys sorted."""
    if not isinstance(nest, (dict, tuple, list)):
        return [nest]
    flat: list[Any] = tree.flatten(nest)
    return flat


def unflatten(structure: Nest, flat: Sequence[Any]) -> Nest:
    """Put leaves back into a structure; the inverse of `leaves`."""
    return tree.unflatten_as(structure, flat)


def concatenated(nests: Sequence[Nest]) -> Nest:
    """Return the rows of at least one nest of NumPy arrays `[N, ...]`, one after the other.

    >>> concatenated([{"a": np.zeros(1)}, {"a": np.ones(2)}])
    {'a': array([0., 1., 1.])}
    """
    return map_nest(lambda *arrays: np.concatenate(arrays), *nests)


def leaves_with_paths(nest: Nest) -> Iterable[tuple[str, Any]]:
    """Yield `("arm.joint[2]", leaf)` pairs.

    >>> list(leaves_with_paths({"arm": {"joint": (1, 2)}}))
    [('arm.joint[0]', 1), ('arm.joint[1]', 2)]
    """
    for path, leaf in tree.flatten_with_path(nest):
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
        yield name.removeprefix("."), leaf


def matching_leaves(structure: Nest, value: Nest, path: str = "") -> list[Any]:
    """Return what stands in `value` where `structure` has its leaves, dict keys sorted.

    Raises ValueError that names the place where `value` has other keys or another length.

    >>> matching_leaves({"b": 0, "a": (0, 0)}, {"a": (1, 2), "b": 3})
    [1, 2, 3]
    """
    if isinstance(structure, dict):
        if not isinstance(value, Mapping) or value.keys() != structure.keys():
            raise _misfit(path, f"a mapping with the keys {sorted(structure)}", value)
        keys, at = sorted(structure), "{}.{}"
    elif isinstance(structure, tuple):
        if not isinstance(value, (tuple, list)) or len(value) != len(structure):
            raise _misfit(path, f"a tuple of {len(structure)}", value)
        keys, at = list(range(len(structure))), "{}[{}]"
    else:
        return [value]
    parts = (matching_leaves(structure[key], value[key], at.format(path, key)) for key in keys)
    return [leaf for part in parts for leaf in part]


def _misfit(path: str, expected: str, value: Any) -> ValueError:
    if isinstance(value, Mapping):
        found = f"one with the keys {sorted(map(str, value))}"
    elif isinstance(value, (tuple, list)):
        found = f"a {type(value).__name__} of {len(value)}"
    else:
        found = type(value).__qualname__
    return ValueError(f"value{path}: expected {expected}, got {found}")
