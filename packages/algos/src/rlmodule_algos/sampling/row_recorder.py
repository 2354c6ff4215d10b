"""Columns for one fragment of agents that act at their own pace: each row has its own cursor.

A step of a row is complete when the agent gets its next observation or leaves; the rewards that come in
between add up. A step that is not complete when the fragment ends begins the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment, SequenceStarts
from rlmodule_algos.sampling.acting import Draw
from rlmodule_algos.sampling.agents import Acted, Agents, Stepped
from rlmodule_algos.sampling.finite import require_finite
from rlmodule_algos.sampling.recorder import acted
from rlmodule_algos.sampling.recurrent_state import SequenceMarks
from rlmodule_core import NumpyDistribution, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OpenSteps:
    """Steps that were begun and not completed, and the rewards that came for them, `[N]`."""

    acted: Acted
    rewards: Array


class RowRecorder:
    """Collects up to `num_steps` steps of each pair that a module acts for. Pairs get rows as they come."""

    def __init__(
        self, num_steps: int, num_pairs: int, module: RLModule, open_steps: OpenSteps | None = None
    ) -> None:
        """Begin with the steps that the last fragment left open."""
        self._num_steps = num_steps
        self._row_of = np.full(num_pairs, -1)
        self._pair_of = np.zeros(0, np.int64)
        self._lengths = np.zeros(num_pairs, np.int64)  # complete steps of each row: the cursors
        self._open = np.zeros(num_pairs, np.bool_)
        self._marks = SequenceMarks(module, num_pairs) if module.is_stateful() else None
        self._columns: dict[str, Nest] = {}  # name -> [T, rows, ...]
        self._state: Nest = None  # [rows, ...] before the step that is open
        self._distribution: NumpyDistribution | None = None
        self._final_index: list[Array] = []
        self._final_obs: list[Nest] = []
        if open_steps is not None:
            self.act(open_steps.acted)
            rows = self._row_of[open_steps.acted.pairs]
            self._columns["rewards"][self._lengths[rows], rows] = open_steps.rewards
            if self._marks is not None:  # the weights may have moved since, so they lead to another state
                self._marks.restart(rows)

    def act(self, step: Acted) -> None:
        """Record what pairs acted on, and the actions drawn."""
        self._make_rows(step)
        rows = self._row_of[step.pairs]
        time = self._lengths[rows]
        given = {"obs": step.obs, "actions": step.draw.actions, "acted": acted(step.draw)}
        for name, values in given.items():
            for column, leaf in zip(leaves(self._columns[name]), leaves(values), strict=True):
                column[time, rows] = leaf
        self._columns["rewards"][time, rows] = 0.0
        self._open[rows] = True
        if self._marks is not None:
            self._marks.step(time, rows, step.state)
            for column, leaf in zip(leaves(self._state), leaves(step.state), strict=True):
                column[rows] = leaf

    def step(self, stepped: Stepped, observed: Callable[[Stepped, IntArray], Nest]) -> None:
        """Record what a step of the environments brought; `observed` gives what pairs saw after it."""
        rows = np.flatnonzero(self._open)
        pairs, time = self._pair_of[rows], self._lengths[rows]
        self._columns["rewards"][time, rows] += stepped.rewards[pairs]
        complete = (stepped.has_obs | stepped.ended)[pairs]
        rows, pairs, time = rows[complete], pairs[complete], time[complete]
        self._columns["terminated"][time, rows] = stepped.terminated[pairs]
        self._columns["truncated"][time, rows] = stepped.truncated[pairs]
        self._open[rows] = False
        self._lengths[rows] += 1
        ended = stepped.ended[pairs]
        if ended.any():
            self._final_index.append(np.stack([time[ended], rows[ended]], axis=1))
            self._final_obs.append(observed(stepped, pairs[ended]))
            if self._marks is not None:
                self._marks.restart(rows[ended])

    def finish(self, agents: Agents, weights_version: int) -> tuple[Fragment | None, OpenSteps | None]:
        """Return the complete steps (None: there are none) and those that begin the next fragment.

        Raises EnvError if a number is not finite.
        """
        rows = np.flatnonzero(self._lengths[: len(self._pair_of)])
        if not len(rows):
            return None, self._open_steps()
        fragment = self._fragment(rows, agents.observations, weights_version)
        require_finite(fragment, lambda row: agents.name_of(int(self._pair_of[rows[row]])))
        return fragment, self._open_steps()

    def _fragment(self, rows: IntArray, next_obs: Callable[[IntArray], Nest], version: int) -> Fragment:
        lengths = self._lengths[rows]
        longest = int(lengths.max())
        self._write_next_obs(rows, next_obs)
        actions, acting, rewards, terminated, truncated = (
            map_nest(lambda column: column[:longest, rows], self._columns[name])
            for name in ("actions", "acted", "rewards", "terminated", "truncated")
        )
        obs = map_nest(lambda column: column[: longest + 1, rows], self._columns["obs"])
        logp = acting if self._distribution is None else self._distribution.with_inputs(acting).logp(actions)
        if self._final_index:
            final_obs = map_nest(lambda *parts: np.concatenate(parts), *self._final_obs)
            final_index = self._renumbered(np.concatenate(self._final_index), rows)
        else:
            final_obs = map_nest(lambda column: column[0, :0], obs)
            final_index = np.zeros((0, 2), np.int64)
        return Fragment(
            obs=obs,
            actions=actions,
            action_logp=logp.astype(np.float32, copy=False),
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            lengths=lengths,
            final_obs=final_obs,
            final_index=final_index,
            sequences=self._sequences(rows),
            weights_version=version,
        )

    def _write_next_obs(self, rows: IntArray, next_obs: Callable[[IntArray], Nest]) -> None:
        """Put what follows the last step where the episode goes on; that of an open step is there already."""
        last = self._lengths[rows] - 1
        ended = self._columns["terminated"][last, rows] | self._columns["truncated"][last, rows]
        waiting = rows[~ended & ~self._open[rows]]
        if not len(waiting):
            return
        waiting = waiting[np.argsort(self._pair_of[waiting])]
        following = next_obs(self._pair_of[waiting])
        for column, leaf in zip(leaves(self._columns["obs"]), leaves(following), strict=True):
            column[self._lengths[waiting], waiting] = leaf

    def _sequences(self, rows: IntArray) -> SequenceStarts | None:
        if self._marks is None:
            return None
        starts = self._marks.finish()
        time, row = starts.index.T
        kept = time < self._lengths[row]  # not those of open steps
        return SequenceStarts(
            index=self._renumbered(starts.index[kept], rows),
            state=map_nest(lambda leaf: leaf[kept], starts.state),
            max_len=starts.max_len,
            burn_in=starts.burn_in,
        )

    def _renumbered(self, index: IntArray, rows: IntArray) -> IntArray:
        """Return (time, row) pairs where rows are counted among `rows`."""
        return np.stack([index[:, 0], np.searchsorted(rows, index[:, 1])], axis=1)

    def _open_steps(self) -> OpenSteps | None:
        rows = np.flatnonzero(self._open)
        if not len(rows):
            return None
        rows = rows[np.argsort(self._pair_of[rows])]
        time = self._lengths[rows]
        obs, actions, acting, rewards = (
            map_nest(lambda column: column[time, rows], self._columns[name])
            for name in ("obs", "actions", "acted", "rewards")
        )
        flat = self._distribution
        draw = Draw(actions, None, acting) if flat is None else Draw(actions, flat.with_inputs(acting), None)
        state = None if self._marks is None else map_nest(lambda leaf: leaf[rows], self._state)
        return OpenSteps(Acted(self._pair_of[rows], obs, draw, state), rewards)

    def _make_rows(self, step: Acted) -> None:
        """Give rows to pairs that have none, full of copies of their first step, so that padding is valid."""
        fresh = self._row_of[step.pairs] < 0
        new = step.pairs[fresh]
        if not len(new):
            return
        first, count = len(self._pair_of), len(step.pairs)
        self._row_of[new] = np.arange(first, first + len(new))
        self._pair_of = np.concatenate([self._pair_of, new])
        kinds: dict[str, Nest] = {
            "obs": step.obs,
            "actions": step.draw.actions,
            "acted": acted(step.draw).astype(np.float32, copy=False),
            "rewards": np.zeros(count, np.float32),
            "terminated": np.zeros(count, np.bool_),
            "truncated": np.zeros(count, np.bool_),
        }
        self._distribution = step.draw.distribution
        for name, like in kinds.items():
            more = map_nest(lambda leaf: np.repeat(leaf[None, fresh], self._num_steps + 1, axis=0), like)
            self._columns[name] = _beside(self._columns.get(name), more, axis=1)
        if self._marks is not None:
            more = map_nest(lambda leaf: np.zeros((len(new), *leaf.shape[1:]), leaf.dtype), step.state)
            self._state = _beside(self._state, more, axis=0)


def _beside(column: Nest, more: Nest, *, axis: int) -> Nest:
    if column is None:
        return more
    return map_nest(lambda a, b: np.concatenate([a, b], axis=axis), column, more)
