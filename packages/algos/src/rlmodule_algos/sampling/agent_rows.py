"""What modules did, step after step, and where it stands in fragments: a row for each agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.sampling.acting import Draw
from rlmodule_core import NumpyDistribution
from rlmodule_core.nest import Nest, map_nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Done:
    """All that a crew did, in order of time and then pair, and what came of it."""

    times: IntArray  # [N]
    pairs: IntArray  # [N]
    module_of: IntArray  # [N]
    last: IntArray  # [N] the step that completed it, or the last one there is
    complete: BoolArray  # [N]
    obs: Nest  # [N, ...]
    actions: Nest  # [N, ...]
    inputs: Array  # [N, n], or [N] where there is no distribution
    distribution: NumpyDistribution | None
    rewards: Array  # [N]

    def logp(self) -> npt.NDArray[np.float32]:
        """Return the log-probs `[N]` of the policies that acted."""
        if self.distribution is None:
            return self.inputs
        logp: Array = self.distribution.with_inputs(self.inputs).logp(self.actions)
        return logp.astype(np.float32, copy=False)

    def draw(self) -> Draw:
        """Return what was drawn as one draw."""
        if self.distribution is None:
            return Draw(self.actions, None, self.inputs)
        return Draw(self.actions, self.distribution.with_inputs(self.inputs), None)

    def some(self, events: IntArray) -> Done:
        """Return some of it."""

        def taken(column: Nest) -> Nest:
            return map_nest(lambda leaf: leaf[events], column)

        return Done(
            times=taken(self.times),
            pairs=taken(self.pairs),
            module_of=taken(self.module_of),
            last=taken(self.last),
            complete=taken(self.complete),
            obs=taken(self.obs),
            actions=taken(self.actions),
            inputs=taken(self.inputs),
            distribution=self.distribution,
            rewards=taken(self.rewards),
        )


class Rows:
    """Where steps stand in a fragment: a row for each pair and module with a complete one, in the order of
    modules and then pairs.
    """

    def __init__(self, done: Done, num_pairs: int) -> None:
        seats = done.module_of * num_pairs + done.pairs
        order = seats.argsort(kind="stable")
        seats = seats[order]
        begins = np.flatnonzero(np.append(True, seats[1:] != seats[:-1]))
        counts = np.diff(begins, append=len(order))
        lengths = np.add.reduceat(done.complete[order], begins, dtype=np.int64)
        with_some = lengths > 0  # others have at most a step that is open
        row = np.repeat(np.where(with_some, np.cumsum(with_some) - 1, -1), counts)
        position = np.arange(len(order)) - np.repeat(begins, counts)
        firsts = order[begins[with_some]]
        self.pairs: IntArray = done.pairs[firsts]
        self.lengths: IntArray = lengths[with_some]
        self.index: IntArray = np.empty((len(order), 2), np.int64)
        """`[N, 2]` the (t, row) of each step, complete or not."""
        self.index[order, 0], self.index[order, 1] = position, row
        # padding is a copy of the first step of its row, so that it is valid
        self.events: IntArray = np.tile(firsts, (int(self.lengths.max()) + 1, 1))
        """`[T + 1, rows]` which step stands there; what follows the last one, where it is open already."""
        shown = row >= 0
        self.events[position[shown], row[shown]] = order[shown]
        self._module_of = done.module_of[firsts]
        self._complete = done.complete
        self._columns = np.arange(len(firsts))

    def by_module(self) -> list[tuple[int, slice]]:
        """Return the rows of each module, by its number."""
        begins = np.flatnonzero(np.diff(self._module_of, prepend=-1)).tolist()
        ends = [*begins[1:], len(self._module_of)]
        rows = map(slice, begins, ends)
        return list(zip(self._module_of[begins].tolist(), rows, strict=True))

    def lasting(self, going: BoolArray) -> IntArray:
        """Return the rows whose last step is `going` `[N]` on, and is followed by nothing that was done."""
        last = self.events[self.lengths - 1, self._columns]
        after = self.events[self.lengths, self._columns]
        return np.flatnonzero(going[last] & self._complete[after])

    def real_or_0(self, column: Array) -> Array:
        """Return a column of steps, `[N]`, as `[T, rows]`, 0 on padding."""
        real = np.arange(len(self.events) - 1)[:, None] < self.lengths
        return np.where(real, column.take(self.events[:-1]), np.zeros((), column.dtype))
