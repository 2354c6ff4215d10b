"""Episodes <-> one flat table of columns, the same in `.npz` and in Parquet.

What we write has a row for each observation. Rows of an episode follow one another in order of time, and
its last row, where `is_final` is True, holds the observation after the last step: whatever else stands
there is zero and means nothing.

    episode_id  is_final  obs...  actions...  rewards  terminated  truncated
    0           False     o_0     a_0         r_0      False       False
    0           False     o_1     a_1         r_1      True        False
    0           True      o_2     0           0        False       False

Read is also a table with a row for each step, cut where `episode_id` changes, or where it is absent
behind each step that is terminated or truncated. What followed the last step of an episode is in
`next_obs...`, a row for each step, or (`.npz` only) in `obs...`, with one row more for each episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.offline.column_names import Array, belongs, from_columns, shape_of, to_columns
from rlmodule_algos.offline.episode import (
    FLAGS,
    OfflineEpisode,
    episode_from_columns,
    missing_columns,
    unlike,
)
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, concatenated, leaves_with_paths, map_nest

EPISODE_ID = "episode_id"
IS_FINAL = "is_final"
NO_EPISODE = -1  # the `episode_id` of a row that is none
IntArray = npt.NDArray[np.int64]


def to_table(episodes: Sequence[OfflineEpisode], ids: Sequence[int]) -> dict[str, Array]:
    """Return the columns of the episodes, with these `episode_id`s."""
    require_none("episodes", unlike(episodes, dtypes=True, numbers=ids))
    sizes = [episode.num_steps + 1 for episode in episodes]
    is_final = np.zeros(sum(sizes), np.bool_)
    is_final[np.cumsum(sizes) - 1] = True
    ends = np.flatnonzero(is_final) - 1

    def flag(name: str) -> Array:
        column = np.zeros(len(is_final), np.bool_)
        column[ends] = [getattr(episode, name) for episode in episodes]
        return column

    def spread(*steps: Array) -> Array:
        column = np.zeros((len(is_final), *steps[0].shape[1:]), steps[0].dtype)
        column[~is_final] = np.concatenate(steps)
        return column

    obs = concatenated([episode.obs for episode in episodes])
    return {
        EPISODE_ID: np.repeat(np.asarray(ids, np.int64), sizes),
        IS_FINAL: is_final,
        **to_columns(Columns.OBS, obs),
        **to_columns(Columns.ACTIONS, map_nest(spread, *(episode.actions for episode in episodes))),
        Columns.REWARDS: spread(*(episode.rewards for episode in episodes)),
        **{name: flag(name) for name in FLAGS},
    }


def from_table(columns: Mapping[str, Array]) -> tuple[list[int], list[OfflineEpisode]]:
    """Return the ids of the episodes, counted where the table has none, and the episodes.

    Raises OfflineDataError with all that is wrong.
    """
    table = _nested(columns)
    if EPISODE_ID in table and (table[EPISODE_ID] == NO_EPISODE).any():
        kept = table[EPISODE_ID] != NO_EPISODE
        table = {name: map_nest(lambda array: array[kept], column) for name, column in table.items()}
    if not len(table[Columns.REWARDS]):
        raise OfflineDataError("table", ["it has no rows"])
    cuts = _rows_of_observations(table) if IS_FINAL in table else _rows_of_steps(table)
    episodes, problems = [], []
    for index, (_id, cut) in enumerate(cuts):
        try:
            episodes.append(episode_from_columns(cut))
        except OfflineDataError as error:
            problems += [f"episode {index}: {problem}" for problem in error.problems]
    require_none("table", problems)
    return [id_ for id_, _cut in cuts], episodes


def _nested(columns: Mapping[str, Array]) -> dict[str, Nest]:
    """Return the columns that we know, those of one name as a nest, all as long as they should be."""
    nests = (Columns.OBS, Columns.ACTIONS, Columns.NEXT_OBS)
    names = {name.partition(".")[0] if name.partition(".")[0] in nests else name: 0 for name in columns}
    require_none("table", missing_columns(names))
    table: dict[str, Nest] = {
        name: from_columns(name, columns)
        for name in nests
        if any(belongs(column, name) for column in columns)
    }
    problems = []
    for name in (Columns.REWARDS, *FLAGS, EPISODE_ID, IS_FINAL):
        if name in columns:
            table[name] = columns[name]
            kinds = {EPISODE_ID: "iu", IS_FINAL: "bi"}.get(name, "biuf")
            if columns[name].ndim != 1 or columns[name].dtype.kind not in kinds:
                wanted = {"iu": "an integer", "bi": "a bool"}.get(kinds, "a number")
                problems.append(f"{name}: expected {wanted} a row, got {shape_of(columns[name])}")
    rows = len(columns[Columns.REWARDS]) if columns[Columns.REWARDS].ndim else 0
    only_obs_is_longer = IS_FINAL not in table and Columns.NEXT_OBS not in table
    for path, leaf in leaves_with_paths(table):
        longer = only_obs_is_longer and belongs(path.partition("[")[0], Columns.OBS)
        if leaf.ndim == 0 or (len(leaf) != rows and not longer):
            problems.append(f"{path}: expected {rows} rows, as in rewards, got {list(leaf.shape)}")
    require_none("table", problems)
    return table


def _rows_of_observations(table: Mapping[str, Nest]) -> list[tuple[int, dict[str, Nest]]]:
    final = table[IS_FINAL].astype(np.bool_)
    ends = np.flatnonzero(final)
    problems = []
    if not final[-1]:
        problems.append(f"{IS_FINAL}: expected True in the last row: the observation after the last step")
    for name in FLAGS:
        if (wrong := np.flatnonzero(final & (table[name] != 0))).size:
            problems.append(
                f"{name}: True in row {wrong[0]}, where {IS_FINAL} is; it belongs to the step before"
            )
    ids = table.get(EPISODE_ID)
    if ids is not None and (wrong := np.flatnonzero((ids[1:] != ids[:-1]) & ~final[:-1])).size:
        problems.append(f"{EPISODE_ID}: it changes behind row {wrong[0]}, where {IS_FINAL} is not True")
    require_none("table", problems)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return [
        (id_, {Columns.OBS: _part(table[Columns.OBS], start, end + 1)} | _steps(table, start, end))
        for id_, start, end in zip(_ids_at(table, starts), starts, ends, strict=True)
    ]


def _rows_of_steps(table: Mapping[str, Nest]) -> list[tuple[int, dict[str, Nest]]]:
    ids = table.get(EPISODE_ID)
    rows = len(table[Columns.REWARDS])
    last = (table[FLAGS[0]] != 0) | (table[FLAGS[1]] != 0) if ids is None else np.ones(rows, np.bool_)
    if ids is not None:
        last[:-1] = ids[1:] != ids[:-1]
    last[-1] = True
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    obs = _observations(table, starts, ends)
    return [
        (id_, {Columns.OBS: obs(index, start, end)} | _steps(table, start, end))
        for index, (id_, start, end) in enumerate(zip(_ids_at(table, starts), starts, ends, strict=True))
    ]


def _observations(table: Mapping[str, Nest], starts: IntArray, ends: IntArray) -> Any:
    """Return what gives the observations of an episode, the final one too, from its number and rows."""
    obs = table[Columns.OBS]
    if Columns.NEXT_OBS in table:
        following = table[Columns.NEXT_OBS]
        _require_continuous(obs, following, ends)
        return lambda _index, start, end: map_nest(
            lambda now, then: np.concatenate([now[start:end], then[end - 1 : end]]), obs, following
        )
    wanted = ends[-1] + len(ends)
    lengths = {path: len(leaf) for path, leaf in leaves_with_paths({Columns.OBS: obs})}
    if wrong := [f"{path} has {length}" for path, length in lengths.items() if length != wanted]:
        raise OfflineDataError(
            "table",
            [
                f"what followed the last step of an episode is missing: {ends[-1]} steps of {len(ends)} "
                f"episodes need {wanted} observations, {', '.join(wrong)}; add {Columns.NEXT_OBS!r}, or a "
                f"row for each final observation that {IS_FINAL!r} marks"
            ],
        )
    return lambda index, start, end: _part(obs, start + index, end + index + 1)


def _require_continuous(obs: Nest, following: Nest, ends: IntArray) -> None:
    """Raise OfflineDataError unless what followed a step is what the next was done on."""
    now = dict(leaves_with_paths({Columns.OBS: obs}))
    then = {
        Columns.OBS + path.removeprefix(Columns.NEXT_OBS): leaf
        for path, leaf in leaves_with_paths({Columns.NEXT_OBS: following})
    }
    if {path: shape_of(leaf) for path, leaf in now.items()} != {
        path: shape_of(leaf) for path, leaf in then.items()
    }:
        raise OfflineDataError("table", [f"{Columns.NEXT_OBS}: expected structure and dtypes of obs"])
    inside = np.ones(ends[-1], np.bool_)
    inside[ends - 1] = False
    problems = []
    for path, leaf in now.items():
        differs = (then[path][:-1] != leaf[1:]).reshape(len(leaf) - 1, -1).any(axis=1)
        if (wrong := np.flatnonzero(differs & inside[:-1])).size:
            problems.append(
                f"next_{path}: row {wrong[0]} is not {path} of row {wrong[0] + 1}, and no episode ends "
                f"between them ({len(wrong)} such rows); keep steps in order, and mark every end"
            )
    require_none("table", problems)


def _ids_at(table: Mapping[str, Nest], starts: IntArray) -> list[int]:
    """Return the ids of the episodes that begin in these rows."""
    if EPISODE_ID not in table:
        return list(range(len(starts)))
    ids: list[int] = table[EPISODE_ID][starts].tolist()
    if len(set(ids)) < len(ids):
        twice = next(id_ for id_ in ids if ids.count(id_) > 1)
        raise OfflineDataError("table", [f"{EPISODE_ID}: the rows of {twice} are not together"])
    return ids


def _steps(table: Mapping[str, Nest], start: Any, end: Any) -> dict[str, Nest]:
    names = (Columns.ACTIONS, Columns.REWARDS, *FLAGS)
    return {name: _part(table[name], start, end) for name in names}


def _part(nest: Nest, start: Any, end: Any) -> Nest:
    return map_nest(lambda array: array[start:end], nest)
