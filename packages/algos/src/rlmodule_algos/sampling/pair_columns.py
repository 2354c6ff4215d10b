"""Columns of agents `[n, ...]` as columns of pairs: agents of equal spaces stand in one array.

So that what a module sees and does for many agents is one array operation, not one for each agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import MultiAgentVectorEnv
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_core.nest import Nest, leaves, map_nest, unflatten

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Columns: TypeAlias = list[Nest]
"""For each group of agents of equal spaces, `[agents * n, ...]`."""


class PairColumns:
    """Knows where each pair stands: pair `a * n + e` is agent `a` in environment `e` of `n`."""

    def __init__(self, env: MultiAgentVectorEnv) -> None:
        self._agents = env.possible_agents
        self._num_envs = env.num_envs
        spaces = {agent: (env.observation_spaces[agent], env.action_spaces[agent]) for agent in self._agents}
        self._groups: list[list[str]] = []
        for agent in self._agents:
            like = next((group for group in self._groups if spaces[group[0]] == spaces[agent]), None)
            if like is None:
                self._groups.append([agent])
            else:
                like.append(agent)
        self._filters = [action_filter(env.action_spaces[group[0]]) for group in self._groups]
        places = {agent: (g, at) for g, group in enumerate(self._groups) for at, agent in enumerate(group)}
        self._group_of = [places[agent][0] for agent in self._agents]
        rows = np.arange(env.num_envs)
        self._place = np.concatenate([places[agent][1] * env.num_envs + rows for agent in self._agents])

    def alike(self, agent: str, other: str) -> bool:
        """Whether two agents have equal spaces."""
        return any(agent in group and other in group for group in self._groups)

    def columns(self, by_agent: Mapping[str, Nest]) -> Columns:
        """Return columns by agent, `[n, ...]` each, as columns of groups."""
        return [
            map_nest(lambda *parts: np.concatenate(parts), *(by_agent[agent] for agent in group))
            if len(group) > 1
            else by_agent[group[0]]
            for group in self._groups
        ]

    def gather(self, columns: Columns, pairs: IntArray) -> Nest:
        """Return the rows `[N, ...]` of pairs, all of one group."""
        place = self._place[pairs]
        return map_nest(lambda column: column[place], columns[self._group(pairs)])

    def replaced(self, columns: Columns, others: Columns, pairs: BoolArray) -> Columns:
        """Return columns with the rows of `others` for the pairs that are True; both stay as they are."""
        chosen = np.flatnonzero(pairs)
        result = list(columns)
        for g in set(self._group_of):
            members = chosen[np.take(self._group_of, chosen // self._num_envs) == g]
            if len(members):
                result[g] = _with_rows(columns[g], others[g], self._place[members])
        return result

    def actions(self, drawn: list[tuple[IntArray, Nest]]) -> dict[str, Nest]:
        """Return (pairs, their actions `[N, ...]`) by agent, `[n, ...]` each, fit for the environments."""
        flat: dict[int, Nest] = {}
        for pairs, actions in drawn:
            g = self._group(pairs)
            if g not in flat:
                size = len(self._groups[g]) * self._num_envs
                flat[g] = map_nest(lambda leaf: np.zeros((size, *leaf.shape[1:]), leaf.dtype), actions)  # noqa: B023
            for column, leaf in zip(leaves(flat[g]), leaves(actions), strict=True):
                column[self._place[pairs]] = leaf
        by_agent: dict[str, Nest] = {}
        for g, column in flat.items():
            fit = self._filters[g](column)
            for at, agent in enumerate(self._groups[g]):
                rows = slice(at * self._num_envs, (at + 1) * self._num_envs)
                by_agent[agent] = map_nest(lambda leaf: leaf[rows], fit)  # noqa: B023  # used at once
        return by_agent

    def _group(self, pairs: IntArray) -> int:
        return self._group_of[int(pairs[0]) // self._num_envs]


def _with_rows(old: Nest, new: Nest, rows: IntArray) -> Nest:
    def merged(before: Array, after: Array) -> Array:
        taken = np.array(before)
        taken[rows] = after[rows]
        return taken

    return unflatten(old, [merged(a, b) for a, b in zip(leaves(old), leaves(new), strict=True)])
