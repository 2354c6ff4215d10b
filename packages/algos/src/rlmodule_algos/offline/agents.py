"""Episodes of many agents <-> one table: that of each agent, its names beginning with `agents.<id>.`.

The `episode_id` in an agent's columns says in which episode it was. Where all columns must have the same
length, those of an agent with fewer rows are filled with rows whose `episode_id` is -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rlmodule_algos.offline.column_names import Array, belongs, quoted, unquoted
from rlmodule_algos.offline.episode import Episodes, OfflineEpisode
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_algos.offline.table import EPISODE_ID, NO_EPISODE, from_table, to_table

AGENTS = "agents"


def to_columns_of_agents(
    episodes: Sequence[Mapping[str, OfflineEpisode]], *, equal_lengths: bool
) -> dict[str, Array]:
    """Return the columns of all agents."""
    tables = {}
    for agent in dict.fromkeys(agent for episode in episodes for agent in episode):
        ids = [index for index, episode in enumerate(episodes) if agent in episode]
        try:
            tables[agent] = to_table([episodes[index][agent] for index in ids], ids)
        except OfflineDataError as error:
            raise OfflineDataError(f"agent {agent!r}", error.problems) from error
    rows = max(len(table[EPISODE_ID]) for table in tables.values()) if equal_lengths else 0
    return {
        f"{AGENTS}.{quoted(agent, AGENTS)}.{name}": _filled(name, column, rows)
        for agent, table in tables.items()
        for name, column in table.items()
    }


def episodes_from_file(columns: Mapping[str, Array]) -> Episodes:
    """Return the episodes of a table, of one agent or of many. Raises OfflineDataError."""
    of_agents = [name for name in columns if belongs(name, AGENTS)]
    if not of_agents:
        return from_table(columns)[1]
    tables: dict[str, dict[str, Array]] = {}
    for name in of_agents:
        _agents, _, rest = name.partition(".")
        agent, _, column = rest.partition(".")
        tables.setdefault(unquoted(agent), {})[column] = columns[name]
    together: dict[int, dict[str, OfflineEpisode]] = {}
    problems: list[str] = []
    for agent, table in tables.items():
        try:
            if EPISODE_ID not in table:
                raise OfflineDataError(agent, [f"no column {EPISODE_ID!r}, which says who played together"])
            for id_, episode in zip(*from_table(table), strict=True):
                together.setdefault(id_, {})[agent] = episode
        except OfflineDataError as error:
            problems += [f"agent {agent!r}: {problem}" for problem in error.problems]
    require_none("table", problems)
    return [together[id_] for id_ in sorted(together)]


def _filled(name: str, column: Array, rows: int) -> Array:
    missing = rows - len(column)
    if missing <= 0:
        return column
    value = NO_EPISODE if name == EPISODE_ID else 0
    return np.concatenate([column, np.full((missing, *column.shape[1:]), value, column.dtype)])
