"""Rows of pairs out of the columns of an environment of many agents, and actions back into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import Columns, MultiAgentVectorEnv
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.step_log import Left
from rlmodule_core.nest import Nest, leaves, map_nest

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]


class PairColumns:
    """Reads and writes rows of pairs; see `AgentGroups`."""

    def __init__(self, env: MultiAgentVectorEnv) -> None:
        self.groups = env.groups
        self._filters = [action_filter(env.action_spaces[members[0]]) for members in self.groups.members]
        self._sizes = [len(members) * env.num_envs for members in self.groups.members]

    def gather(self, columns: Columns, pairs: IntArray) -> Nest:
        """Return the rows `[N, ...]` of pairs, all of one group."""
        return _rows(columns[self.groups.of(pairs)], self.groups.places(pairs))

    def split(self, columns: Columns, pairs: IntArray) -> list[Left]:
        """Return the rows of pairs of any group, apart for each group."""
        parts = self.groups.split(pairs)
        return [Left(g, mine, _rows(columns[g], self.groups.places(mine))) for g, mine in parts]

    def replaced(self, columns: Columns, others: Columns, pairs: IntArray) -> Columns:
        """Return columns with the rows of `others` for some pairs; both stay as they are."""
        result = list(columns)
        for g, mine in self.groups.split(pairs):
            result[g] = _with_rows(columns[g], others[g], self.groups.places(mine))
        return result

    def actions(self, drawn: Sequence[tuple[IntArray, Nest]]) -> Columns:
        """Return (pairs, their actions `[N, ...]`) as columns for the environments; None: nobody acts."""
        columns: Columns = [None] * len(self._sizes)
        for pairs, actions in drawn:
            g = self.groups.of(pairs)
            if len(pairs) == self._sizes[g]:  # all of them, in their order
                columns[g] = actions
                continue
            if columns[g] is None:
                size = self._sizes[g]
                columns[g] = map_nest(lambda leaf: np.zeros((size, *leaf.shape[1:]), leaf.dtype), actions)  # noqa: B023
            places = self.groups.places(pairs)
            for column, leaf in zip(leaves(columns[g]), leaves(actions), strict=True):
                column[places] = leaf
        return [
            None if column is None else fit(column)
            for fit, column in zip(self._filters, columns, strict=True)
        ]


def _rows(nest: Nest, rows: IntArray) -> Nest:
    return map_nest(lambda leaf: leaf.take(rows, axis=0), nest)


def _with_rows(old: Nest, new: Nest, rows: IntArray) -> Nest:
    def merged(before: Array, after: Array) -> Array:
        taken = np.array(before)
        taken[rows] = after[rows]
        return taken

    return map_nest(merged, old, new)
