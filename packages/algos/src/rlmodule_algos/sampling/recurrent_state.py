"""The state of a stateful module while it acts: carried from step to step, reset where episodes begin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import MAX_SEQ_LEN, SequenceStarts
from rlmodule_core import RLModule
from rlmodule_core.nest import Nest, concatenated, map_nest

Array = npt.NDArray[Any]


class CarriedState:
    """One state a row, `[B, ...]`, in NumPy."""

    def __init__(self, module: RLModule, num_rows: int) -> None:
        self._initial = module.get_initial_state()
        self.fresh = np.ones(num_rows, np.bool_)  # [B] rows whose episode begins with the next step
        self.now: Nest = map_nest(
            lambda leaf: np.repeat(np.asarray(leaf)[None], num_rows, axis=0), self._initial
        )

    def advance(self, state: Nest, begins: Array | None = None) -> None:
        """Take over the state after a step; rows where an episode `begins` next start afresh."""
        self.now = map_nest(np.array, state) if begins is None else self._reset(state, begins)
        self.fresh = np.zeros_like(self.fresh) if begins is None else begins

    def write(self, rows: Array, state: Nest) -> None:
        """Take over the state of some rows."""

        def written(column: Array, leaf: Array) -> Array:
            column[rows] = leaf
            return column

        map_nest(written, self.now, state)
        self.fresh[rows] = False

    def restart(self, rows: Array) -> None:
        """Let some rows, by index or mask, start afresh."""
        self.now = self._reset(self.now, rows)
        self.fresh[rows] = True

    def rows(self, rows: Array) -> Nest:
        """Return copies of the states of some rows."""
        return map_nest(lambda column: column[rows], self.now)

    def _reset(self, state: Nest, rows: Array) -> Nest:
        def fresh(leaf: Array, initial: Array) -> Array:
            leaf = np.array(leaf)  # the module's own memory is not ours to write
            leaf[rows] = initial
            return leaf

        return map_nest(fresh, state, self._initial)


class SequenceMarks:
    """Notes where sequences begin, and in which state, while a fragment is recorded."""

    def __init__(self, module: RLModule, num_rows: int) -> None:
        config = module.config
        settings = {} if config is None else config.model_config_dict
        self._max_len = int(settings.get("max_seq_len", MAX_SEQ_LEN))
        self._burn_in = int(settings.get("burn_in", 0))
        self._stride = self._max_len - self._burn_in
        self._age = np.zeros(num_rows, np.int64)  # steps since the last mark; 0: a sequence begins
        self._index: list[Array] = []
        self._states: list[Nest] = []
        self._flags: list[Array] = []  # [2, N] an episode begins, anew

    def step(self, time: int, rows: Array, state: Nest, fresh: Array) -> None:
        """Note which of these rows' sequences begin with the step at `time`, in which `state`.

        `fresh` says whose episode begins, too.
        """
        age = self._age[rows]
        begin = (age == 0) | (age == self._stride)
        self._age[rows] = np.where(begin, 1, age + 1)
        if begin.any():
            self._index.append(np.stack([np.full(begin.sum(), time), rows[begin]], axis=1))
            self._states.append(map_nest(lambda leaf: leaf[begin], state))
            self._flags.append(np.stack([fresh[begin], age[begin] == 0]))

    def restart(self, rows: Array) -> None:
        """Let a sequence begin with the next step of these rows, by index or mask."""
        self._age[rows] = 0

    def finish(self) -> SequenceStarts:
        """Return all marks."""
        begins, anew = np.concatenate(self._flags, axis=1)
        return SequenceStarts(
            index=np.concatenate(self._index),
            state=concatenated(self._states),
            begins=begins,
            anew=anew,
            max_len=self._max_len,
            burn_in=self._burn_in,
        )
