"""The leaves of an observation space, and where they stand."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rlmodule_core import UnsupportedSpaceError
from rlmodule_core.encoder_configs import LeafPath
from rlmodule_core.observation_parts import path_text

KNOWN = (
    "Box, Discrete, MultiDiscrete, MultiBinary, and Dict (with keys of type str) and Tuple of these, nested "
    "to any depth; none may be empty"
)


def observation_leaves(
    space: gym.Space[Any] | None, path: LeafPath = ()
) -> list[tuple[LeafPath, gym.Space[Any] | None]]:
    """Return what a space holds that is no Dict or Tuple, with its path; dict keys are sorted.

    Raises UnsupportedSpaceError for a Dict or Tuple that is empty, and for keys that are not str.

    >>> [path for path, _ in observation_leaves(spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Text(3)}))]
    [('a',), ('b',)]
    """
    match space:
        case spaces.Dict(spaces=children):
            if not children or not all(isinstance(key, str) for key in children):
                raise unsupported_observation(space, path, method="get_encoder_config")
            return [
                leaf for key in sorted(children) for leaf in observation_leaves(children[key], (*path, key))
            ]
        case spaces.Tuple(spaces=parts):
            if not parts:
                raise unsupported_observation(space, path, method="get_encoder_config")
            return [
                leaf for index, part in enumerate(parts) for leaf in observation_leaves(part, (*path, index))
            ]
    return [(path, space)]


def space_leaves(space: gym.Space[Any]) -> list[gym.Space[Any]]:
    """Return what any space holds that is no Dict or Tuple; none for one that is empty.

    >>> space_leaves(spaces.Tuple([spaces.Text(3), spaces.Dict({})]))
    [Text(1, 3, charset=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz)]
    """
    match space:
        case spaces.Dict(spaces=children):
            return [leaf for part in children.values() for leaf in space_leaves(part)]
        case spaces.Tuple(spaces=parts):
            return [leaf for part in parts for leaf in space_leaves(part)]
    return [space]


def unsupported_observation(space: object, path: LeafPath, *, method: str) -> UnsupportedSpaceError:
    """Return the error for a space that has no encoder; `method` is the one to override."""
    return UnsupportedSpaceError(
        space,
        where=f"observation space{path_text(path)}",
        known=KNOWN,
        fix=f"Override Catalog.{method} to bring an encoder of your own, or wrap the environment",
    )
