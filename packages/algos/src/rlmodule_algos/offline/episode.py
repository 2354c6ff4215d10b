"""One recorded episode, checked where it is made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, leaves_with_paths

Array = npt.NDArray[Any]
FLAGS = (Columns.TERMINATED, Columns.TRUNCATED)
REQUIRED = (Columns.OBS, Columns.ACTIONS, Columns.REWARDS, *FLAGS)


@dataclass(frozen=True, eq=False, kw_only=True)
class OfflineEpisode:
    """T steps of one agent, and what it saw after the last. Raises OfflineDataError if they do not fit."""

    obs: Nest  # [T + 1, ...], the final observation included
    actions: Nest  # [T, ...]
    rewards: npt.NDArray[np.float32]  # [T]
    terminated: bool  # of the last step; no other ends an episode
    truncated: bool

    def __post_init__(self) -> None:
        problems: list[str] = []
        for name in (Columns.OBS, Columns.ACTIONS):
            object.__setattr__(self, name, as_nest(getattr(self, name), name, problems))
        rewards = as_nest(self.rewards, Columns.REWARDS, problems)
        for name in FLAGS:
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                problems.append(f"{name}: expected True or False, got {getattr(self, name)!r}")
            else:
                object.__setattr__(self, name, bool(getattr(self, name)))
        if not problems:
            problems = _misfits(self.obs, self.actions, rewards)
        require_none("episode", problems)
        with np.errstate(over="ignore"):
            object.__setattr__(self, Columns.REWARDS, rewards.astype(np.float32, copy=False))
        require_none("episode", _not_finite(Columns.REWARDS, self.rewards))

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.rewards)

    def __eq__(self, other: object) -> bool:
        """Whether structure, dtypes and every number are the same."""
        if not isinstance(other, OfflineEpisode):
            return NotImplemented
        mine, others = (dict(leaves_with_paths(vars(episode))) for episode in (self, other))
        return mine.keys() == others.keys() and all(
            np.array_equal(leaf, others[path]) and np.asarray(leaf).dtype == np.asarray(others[path]).dtype
            for path, leaf in mine.items()
        )


Episodes: TypeAlias = list[OfflineEpisode] | list[dict[str, OfflineEpisode]]
"""Of one agent, or `{agent id: episode}` of many."""


def episode_from_columns(columns: Mapping[str, Any]) -> OfflineEpisode:
    """Return the episode whose columns these are; flags are `[T]` or one bool. Other columns are left alone.

    Raises OfflineDataError for a column that is missing, and where the columns do not fit.
    """
    require_none("episode", missing_columns(columns))
    problems: list[str] = []
    rewards = as_nest(columns[Columns.REWARDS], Columns.REWARDS, problems)
    lengths = ((), np.shape(rewards)) if np.ndim(rewards) == 1 else None
    ends = {name: _last_flag(name, columns[name], lengths, problems) for name in FLAGS}
    try:
        episode = OfflineEpisode(
            obs=columns[Columns.OBS], actions=columns[Columns.ACTIONS], rewards=rewards, **ends
        )
    except OfflineDataError as error:
        problems += [problem for problem in error.problems if problem not in problems]
    require_none("episode", problems)
    return episode


def missing_columns(names: Mapping[str, Any]) -> list[str]:
    """Say which required columns are not there, each with the nearest name that is."""
    unknown = [str(name) for name in names if name not in REQUIRED]
    problems = []
    for name in REQUIRED:
        if name not in names:
            near = difflib.get_close_matches(name, unknown, n=1)
            hint = f"if {near[0]!r} is that, rename it" if near else f"there are {sorted(map(str, names))}"
            problems.append(f"no column {name!r}; {hint}")
    return problems


def as_nest(value: Any, path: str, problems: list[str]) -> Nest:
    """Return mappings as dicts, tuples as tuples, and anything else as an array of numbers."""
    if isinstance(value, Mapping):
        return {key: as_nest(child, f"{path}.{key}", problems) for key, child in value.items()}
    if isinstance(value, tuple) and not all(np.isscalar(child) for child in value):
        return tuple(as_nest(child, f"{path}[{at}]", problems) for at, child in enumerate(value))
    try:
        array = np.asarray(value)
    except ValueError as error:  # a list of lists of several lengths
        problems.append(f"{path}: expected an array of numbers: {error}")
        return np.zeros(0)
    if array.dtype.kind not in "biuf":
        hint = "; stack the steps, and keep dicts and tuples outside" if array.dtype.kind == "O" else ""
        problems.append(f"{path}: expected an array of numbers, got dtype {array.dtype}{hint}")
    return array


def unlike(
    episodes: Sequence[OfflineEpisode], *, dtypes: bool, numbers: Sequence[int] | None = None
) -> list[str]:
    """Say which columns of which episodes have another structure, shape or dtype than the first's.

    `numbers` is what the episodes are called, where that is not their place.
    """
    problems = []
    named = range(len(episodes)) if numbers is None else numbers
    first = _kinds(episodes[0], dtypes=dtypes)
    for number, episode in zip(named[1:], episodes[1:], strict=True):
        kinds = _kinds(episode, dtypes=dtypes)
        for path in first | kinds:
            wanted, got = first.get(path, "no such column"), kinds.get(path, "no such column")
            if wanted != got:
                problems.append(
                    f"episode {number}: {path}: expected {wanted} as in episode {named[0]}, got {got}"
                )
    return problems


def _kinds(episode: OfflineEpisode, *, dtypes: bool) -> dict[str, str]:
    columns = {Columns.OBS: episode.obs, Columns.ACTIONS: episode.actions}
    return {
        path: f"{leaf.dtype} {list(leaf.shape[1:])}" if dtypes else str(list(leaf.shape[1:]))
        for path, leaf in leaves_with_paths(columns)
    }


def _misfits(obs: Nest, actions: Nest, rewards: Array) -> list[str]:
    """Say which columns have not the length that the rewards give them, or hold NaN or infinity."""
    if not isinstance(rewards, np.ndarray) or rewards.ndim != 1:
        shape = list(rewards.shape) if isinstance(rewards, np.ndarray) else type(rewards).__name__
        return [f"{Columns.REWARDS}: expected [T], got {shape}"]
    steps = len(rewards)
    if not steps:
        return ["expected at least one step, got none"]
    problems = _not_finite(Columns.REWARDS, rewards)
    for name, column, length, meaning in (
        (Columns.OBS, obs, steps + 1, f"one more than the {steps} rewards: the final one too"),
        (Columns.ACTIONS, actions, steps, "as many as rewards"),
    ):
        for path, leaf in leaves_with_paths({name: column}):
            if leaf.ndim == 0 or len(leaf) != length:
                problems.append(f"{path}: expected [{length}, ...], {meaning}, got {list(leaf.shape)}")
            problems += _not_finite(path, leaf)
    return problems


def _not_finite(path: str, array: Array) -> list[str]:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return []
    bad = np.argwhere(~np.isfinite(array))
    at = f"step {bad[0][0]}" if array.ndim else "all steps"
    return [f"{path}: {array[tuple(bad[0])]} at {at}, {len(bad)} numbers in all are not finite"]


def _last_flag(name: str, given: Any, lengths: Any, problems: list[str]) -> bool:
    """Return the flag of the last step; `lengths` are the shapes that it may have."""
    flags = np.asarray(given)
    if flags.dtype.kind not in "biuf" or flags.ndim > 1 or not np.isin(flags, (0, 1)).all():
        problems.append(f"{name}: expected a bool, or bools [T], got {flags.dtype} {list(flags.shape)}")
        return False
    if lengths is not None and flags.shape not in lengths:
        problems.append(f"{name}: expected {list(lengths[1])}, as many as rewards, got {list(flags.shape)}")
    early = np.flatnonzero(flags[:-1]) if flags.ndim else np.zeros(0)
    if len(early):
        problems.append(
            f"{name}: True at step {early[0]} of {len(flags)}; an episode ends there, so the rest is another"
        )
    return bool(flags[-1] if flags.ndim and len(flags) else flags.any())
