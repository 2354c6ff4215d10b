"""Reading and changing the leaves of a nested observation: of mappings, tuples and lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from rlmodule_core.nested_dict import NestedDict

ACTION_MASK: Final = "action_mask"
"""The entry of a Dict observation that says which actions are allowed; it is not encoded."""

LeafPath: TypeAlias = tuple[str | int, ...]
"""Where a leaf stands in a nested observation: keys of dicts, positions in tuples; () is the whole."""


def leaf_at(obs: Any, path: LeafPath) -> Any:
    """Return the leaf of a nested observation.

    >>> leaf_at({"arm": (1, 2)}, ("arm", 1))
    2
    """
    for key in path:
        obs = obs[key]
    return obs


def with_leaf(obs: Any, path: LeafPath, leaf: Any) -> Any:
    """Return a nested observation with another leaf in one place; the given one stays as it is.

    >>> with_leaf({"arm": (1, 2), "leg": 3}, ("arm", 1), 7)
    {'arm': (1, 7), 'leg': 3}
    """
    if not path:
        return leaf
    key, *rest = path
    changed = with_leaf(obs[key], tuple(rest), leaf)
    if isinstance(obs, Mapping):
        return {**_plain(obs), key: changed}
    parts = [changed if index == key else part for index, part in enumerate(obs)]
    return parts if isinstance(obs, list) else tuple(parts)


def path_text(path: LeafPath) -> str:
    """Return a path as one would write it.

    >>> path_text(("arm", 1))
    '.arm[1]'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)


def map_leaves(function: Callable[[Any], Any], obs: Any) -> Any:
    """Return a nested observation with `function` applied to each leaf; a mapping becomes a dict.

    >>> map_leaves(str, {"arm": (1, 2)})
    {'arm': ('1', '2')}
    """
    if isinstance(obs, Mapping):
        return {key: map_leaves(function, part) for key, part in _plain(obs).items()}
    if isinstance(obs, (tuple, list)):
        parts = [map_leaves(function, part) for part in obs]
        return parts if isinstance(obs, list) else tuple(parts)
    return function(obs)


def first_leaf(obs: Any) -> Any:
    """Return one leaf of a nested observation, to read the leading sizes from."""
    while isinstance(obs, (Mapping, tuple, list)):
        obs = next(iter(_plain(obs).values() if isinstance(obs, Mapping) else obs))
    return obs


def without_key(obs: Mapping[Any, Any], key: str) -> dict[Any, Any]:
    """Return a mapping as a dict that lacks one key."""
    return {name: part for name, part in _plain(obs).items() if name != key}


def _plain(obs: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a mapping whose keys are single ones: those of a NestedDict are whole paths."""
    return obs.asdict() if isinstance(obs, NestedDict) else obs
