"""What happened to many agents, step by step, kept as it came and stacked once a fragment.

Arrays are time-major: `[T, P]` is T steps of P pairs, one agent in one environment each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest, concatenated, map_nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Left(NamedTuple):
    """Agents of equal spaces that left in one step, and what they saw then."""

    group: int
    pairs: IntArray  # [K]
    obs: Nest  # [K, ...] anything where one terminated without an observation


class Stepped(NamedTuple):
    """What one step of the environments brought, `[P]` each, before those that are over were reset."""

    acted: BoolArray  # an action was given
    rewards: Array
    has_obs: BoolArray
    terminated: BoolArray
    truncated: BoolArray
    ended: BoolArray  # terminated or truncated
    module_of: IntArray  # the number of the module that acts for it; below 0: it never acted
    over: BoolArray  # [n] environments whose episode is over
    left: list[Left]  # for each group of agents of equal spaces from which someone left


@dataclass(frozen=True)
class StepLog:
    """T steps of all pairs."""

    acted: BoolArray  # [T, P], and so on, as in Stepped
    rewards: Array
    has_obs: BoolArray
    terminated: BoolArray
    truncated: BoolArray
    ended: BoolArray
    module_of: IntArray
    over: BoolArray  # [T, n]
    left: list[list[Left]]  # of each step

    @classmethod
    def stacked(cls, steps: Sequence[Stepped]) -> StepLog:
        """Return at least one step as one log."""
        columns = {name: [getattr(step, name) for step in steps] for name in Stepped._fields}
        left = columns.pop("left")
        return cls(left=left, **{name: np.array(column) for name, column in columns.items()})

    @cached_property
    def completed(self) -> IntArray:
        """`[T, P]` when an open step is complete: its agent sees something or leaves. T: not in here."""
        steps = len(self.rewards)
        times = np.where(self.has_obs | self.ended, np.arange(steps)[:, None], steps)
        return np.minimum.accumulate(times[::-1], axis=0)[::-1]

    def paid(self, first: IntArray, last: IntArray, pairs: IntArray) -> Array:
        """Return what pairs were paid from the first to the last of some steps, `[N]` each."""
        counts = last - first + 1
        if counts.max(initial=1) == 1:
            paid: Array = self.rewards[first, pairs]
            return paid
        starts = np.cumsum(counts) - counts
        times = np.arange(counts.sum()) - np.repeat(starts - first, counts)
        summed: Array = np.add.reduceat(self.rewards[times, np.repeat(pairs, counts)], starts)
        return summed

    def seen_last(self, times: IntArray, pairs: IntArray, group: int, like: Nest) -> Nest:
        """Return what pairs of a group saw in the steps in which they left, `[K, ...]`; `like` `[N, ...]`."""
        if not len(times):
            return map_nest(lambda leaf: leaf[:0], like)
        keys, obs = self._left_by_group[group]
        place = np.searchsorted(keys, times * self.rewards.shape[1] + pairs)
        return map_nest(lambda leaf: leaf[place], obs)

    @cached_property
    def _left_by_group(self) -> dict[int, tuple[IntArray, Nest]]:
        """For each group, by time and pair as one ascending number, what was seen."""
        found: dict[int, tuple[list[IntArray], list[Nest]]] = {}
        for time, of_step in enumerate(self.left):
            for group, pairs, obs in of_step:
                keys, seen = found.setdefault(group, ([], []))
                keys.append(pairs + time * self.rewards.shape[1])
                seen.append(obs)
        return {group: (np.concatenate(keys), concatenated(seen)) for group, (keys, seen) in found.items()}
