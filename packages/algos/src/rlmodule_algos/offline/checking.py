"""Whether recorded episodes are of the spaces that are to be learned with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_algos.offline.errors import require_none
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, leaves_with_paths, matching_leaves
from rlmodule_core.spaces import nest_of_spaces

Array = npt.NDArray[Any]
Spaces = gym.Space[Any] | Mapping[str, gym.Space[Any]]


def check_episodes(
    episodes: Sequence[OfflineEpisode | Mapping[str, OfflineEpisode]],
    observation_space: Spaces,
    action_space: Spaces,
    where: str = "offline data",
) -> None:
    """Raise OfflineDataError, with all problems, unless every observation and action is of its space.

    Structure, shape and kind of number must be the space's, classes and bits in their range, and actions
    within their bounds. An observation may leave its bounds, as environments let it. For
    `{agent id: episode}` the spaces are mappings by agent.
    """
    problems: list[str] = []
    for index, episode in enumerate(episodes):
        if isinstance(episode, OfflineEpisode):
            found = _problems(episode, observation_space, action_space)
            problems += [f"episode {index}: {problem}" for problem in found]
            continue
        for agent, part in episode.items():
            if not (_has(observation_space, agent) and _has(action_space, agent)):
                known = sorted(map(str, getattr(observation_space, "keys", list)()))
                found = [f"there is no such agent; there are {known}"]
            else:
                found = _problems(part, observation_space[agent], action_space[agent])  # type: ignore[index]
            problems += [f"episode {index}: agent {agent!r}: {problem}" for problem in found]
    require_none(where, problems)


def _has(by_agent: Spaces, agent: str) -> bool:
    return isinstance(by_agent, Mapping) and agent in by_agent


def _problems(episode: OfflineEpisode, observation_space: Any, action_space: Any) -> list[str]:
    return [
        *_nest_problems(Columns.OBS, episode.obs, observation_space, bounded=False),
        *_nest_problems(Columns.ACTIONS, episode.actions, action_space, bounded=True),
    ]


def _nest_problems(name: str, column: Nest, space: gym.Space[Any], *, bounded: bool) -> list[str]:
    nested = nest_of_spaces(space)
    try:
        parts = matching_leaves(nested, column)
    except ValueError as error:
        return [f"{name}{str(error).removeprefix('value')}"]
    problems = []
    for (path, leaf_space), part in zip(leaves_with_paths({name: nested}), parts, strict=True):
        if not isinstance(part, np.ndarray):
            problems.append(f"{path}: expected an array, got a {type(part).__name__}")
        elif problem := _leaf_problem(part, leaf_space, bounded=bounded):
            problems.append(f"{path}: {problem}")
    return problems


def _leaf_problem(array: Array, space: gym.Space[Any], *, bounded: bool) -> str | None:
    """Say what is wrong with `array`, `[T, ...]`, or None."""
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete() | spaces.MultiBinary():
            wanted, kinds = "integer", "iub" if isinstance(space, spaces.MultiBinary) else "iu"
            fits = array.dtype.kind in kinds
        case spaces.Box():
            wanted = str(space.dtype)
            fits = np.can_cast(array.dtype, space.dtype, "same_kind")
        case _:
            return f"the space {space} does not hold arrays of one shape"
    shape = tuple(space.shape or ())
    if not fits or array.shape[1:] != shape:
        hint = "" if fits else _dtype_hint(array, space)
        return f"expected {wanted} {list(shape)}, got {array.dtype} {list(array.shape[1:])}{hint}"
    match space:
        case spaces.Discrete():
            return _outside(array, int(space.start), int(space.start + space.n - 1), "classes")
        case spaces.MultiDiscrete():
            return _outside(array, space.start, space.start + space.nvec - 1, "classes")
        case spaces.MultiBinary():
            return _outside(array, 0, 1, "bits")
        case spaces.Box() if bounded:
            return _outside(array.astype(space.dtype, copy=False), space.low, space.high, "actions")
    return None


def _dtype_hint(array: Array, space: gym.Space[Any]) -> str:
    if not isinstance(space, spaces.Box):
        return "; classes are integers, so convert them with .astype(np.int64)"
    if array.dtype.kind == "f":
        return "; give the numbers as the environment does, not scaled"
    return f"; convert them with .astype(np.{space.dtype})"


def _outside(array: Array, low: Any, high: Any, kind: str) -> str | None:
    bad = (array < low) | (array > high)
    if not bad.any():
        return None
    first = tuple(np.argwhere(bad)[0].tolist())
    least, most = (np.broadcast_to(bound, array.shape)[first].item() for bound in (low, high))
    found = f"{array[first].item():g} at step {first[0]} is outside [{least:g}, {most:g}]"
    hints = {
        "actions": "record what the environment got: clip what a policy drew beyond the bounds, or unsquash",
        "classes": "classes count from the space's start",
        "bits": "a bit is 0 or 1",
    }
    return f"{found}, {int(bad.sum())} {kind} in all; {hints[kind]}"
