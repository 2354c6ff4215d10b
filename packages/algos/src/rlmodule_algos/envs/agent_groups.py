"""Agents of equal spaces stand in one array: what a policy sees and does for all is one operation.

A pair is one agent in one environment; pair `a * n + e` is agent `a` in environment `e` of `n`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest, concatenated, map_nest

IntArray = npt.NDArray[np.int64]
Columns: TypeAlias = list[Nest]
"""For each group of agents of equal spaces, `[members * n, ...]`."""


class AgentGroups:
    """Which agents have equal spaces, and where each pair stands in the columns of its group."""

    def __init__(
        self,
        agents: Sequence[str],
        observation_spaces: Mapping[str, gym.Space[Any]],
        action_spaces: Mapping[str, gym.Space[Any]],
        num_envs: int,
    ) -> None:
        self.members: list[list[str]] = []
        self.num_envs = num_envs
        self.of_agent: dict[str, int] = {}
        spaces = {agent: (observation_spaces[agent], action_spaces[agent]) for agent in agents}
        for agent in agents:
            like = (g for g, (first, *_) in enumerate(self.members) if spaces[first] == spaces[agent])
            group = self.of_agent[agent] = next(like, len(self.members))
            if group == len(self.members):
                self.members.append([])
            self.members[group].append(agent)
        self._agents = list(agents)
        self._of = np.array([self.of_agent[agent] for agent in agents])
        firsts = [self.members[self.of_agent[agent]].index(agent) * num_envs for agent in agents]
        self._place = (np.array(firsts)[:, None] + np.arange(num_envs)).ravel()

    def of(self, pairs: IntArray) -> int:
        """Return the group of pairs that are all of one."""
        return 0 if len(self.members) == 1 else int(self._of[pairs[0] // self.num_envs])

    def places(self, pairs: IntArray) -> IntArray:
        """Return the rows of pairs in the columns of their groups."""
        return pairs if len(self.members) == 1 else self._place[pairs]

    def split(self, pairs: IntArray) -> list[tuple[int, IntArray]]:
        """Return the pairs of each group that has some, in their order."""
        if len(self.members) == 1:
            return [(0, pairs)]
        groups = self._of[pairs // self.num_envs]
        return [(group, pairs[groups == group]) for group in np.flatnonzero(np.bincount(groups)).tolist()]

    def columns(self, by_agent: Mapping[str, Nest]) -> Columns:
        """Return columns by agent, `[n, ...]` each, as columns of groups; a group without any is None."""
        return [
            concatenated([by_agent[agent] for agent in members]) if members[0] in by_agent else None
            for members in self.members
        ]

    def by_agent(self, columns: Columns) -> dict[str, Nest]:
        """Return views of columns, by agent, `[n, ...]` each; agents of a group without any are left out."""
        found: dict[str, Nest] = {}
        for members, column in zip(self.members, columns, strict=True):
            for at, agent in enumerate(members if column is not None else ()):
                rows = slice(at * self.num_envs, (at + 1) * self.num_envs)
                found[agent] = map_nest(lambda leaf: leaf[rows], column)  # noqa: B023  # used at once
        return {agent: found[agent] for agent in self._agents if agent in found}
