"""What one module did for agents that act at their own pace -> a fragment, a row for each agent.

A step is complete when the agent gets its next observation or leaves; the rewards that come in between
add up. A step that is not complete when the fragment ends begins the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment, SequenceStarts
from rlmodule_algos.sampling.acting import Draw
from rlmodule_algos.sampling.agents import Acted, Agents
from rlmodule_algos.sampling.finite import require_finite
from rlmodule_algos.sampling.recorder import acted
from rlmodule_algos.sampling.recurrent_state import SequenceMarks
from rlmodule_algos.sampling.step_log import StepLog
from rlmodule_core import NumpyDistribution, RLModule
from rlmodule_core.nest import Nest, concatenated, leaves, map_nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OpenSteps:
    """Steps that were begun and not completed, and the rewards that came for them, `[N]`."""

    acted: Acted
    rewards: Array


class ActLog:
    """Keeps what one module acted on, and what it did, while a fragment is recorded."""

    def __init__(self, module: RLModule, num_pairs: int, open_steps: OpenSteps | None = None) -> None:
        """Begin with the steps that the last fragment left open."""
        self._num_pairs = num_pairs
        self._times: list[int] = []  # -1: before this fragment
        self._acted: list[Acted] = []
        self._inputs: list[Array] = []  # parameters of the distributions, or log-probs where there are none
        self._marks = SequenceMarks(module, num_pairs) if module.is_stateful() else None
        self._before: Nest = None  # [P, ...] state and freshness before the last step of each pair
        self._carried = None if open_steps is None else open_steps.rewards
        if open_steps is not None:
            self.act(-1, open_steps.acted)
            if self._marks is not None:  # the weights may have moved since, so they lead to another state
                self._marks.restart(open_steps.acted.pairs)

    def act(self, time: int, step: Acted) -> None:
        """Keep what was done at a step of the fragment."""
        self._times.append(time)
        self._inputs.append(np.array(acted(step.draw), np.float32))  # the module may use its memory again
        if self._marks is not None and step.fresh is not None:
            self._marks.step(time, step.pairs, step.state, step.fresh)
            self._write_before(step.pairs, (step.state, step.fresh))
            step = step._replace(state=None, fresh=None)
        self._acted.append(step)

    def step(self, ended: BoolArray) -> None:
        """Note whose episode ended, `[P]`."""
        if self._marks is not None:
            self._marks.restart(ended)

    def finish(
        self, log: StepLog, agents: Agents, weights_version: int
    ) -> tuple[Fragment | None, OpenSteps | None]:
        """Return the complete steps (None: there are none) and those that begin the next fragment.

        Raises EnvError if a number is not finite.
        """
        done = self._done(log)
        if not done.complete.any():
            return None, self._open_steps(done)
        rows = _Rows(done)
        fragment = self._fragment(done, rows, log, agents, weights_version)
        require_finite(fragment, lambda row: agents.name_of(int(rows.pairs[row])))
        return fragment, self._open_steps(done)

    def _done(self, log: StepLog) -> _Done:
        sizes = [len(step.pairs) for step in self._acted]
        pairs = np.concatenate([step.pairs for step in self._acted])
        first = np.maximum(np.repeat(self._times, sizes), 0)
        until = log.completed[first, pairs]
        last = np.minimum(until, len(log.rewards) - 1)
        rewards = log.paid(first, last, pairs)
        if self._carried is not None:
            rewards[: len(self._carried)] += self._carried
        return _Done(
            times=np.repeat(self._times, sizes),
            pairs=pairs,
            last=last,
            complete=until < len(log.rewards),
            obs=concatenated([step.obs for step in self._acted]),
            actions=concatenated([step.draw.actions for step in self._acted]),
            inputs=np.concatenate(self._inputs),
            distribution=self._acted[-1].draw.distribution,
            rewards=rewards,
        )

    def _fragment(
        self, done: _Done, rows: _Rows, log: StepLog, agents: Agents, weights_version: int
    ) -> Fragment:
        terminated, truncated = (
            flags[done.last, done.pairs] & done.complete for flags in (log.terminated, log.truncated)
        )
        ended = terminated | truncated
        obs = map_nest(lambda column: column.take(rows.events, axis=0), done.obs)
        waiting = rows.lasting(~ended)
        if len(waiting):
            following = agents.observations(rows.pairs[waiting])
            for column, leaf in zip(leaves(obs), leaves(following), strict=True):
                column[rows.lengths[waiting], waiting] = leaf
        left = np.flatnonzero(ended)
        steps = rows.events[:-1]
        return Fragment(
            obs=obs,
            actions=map_nest(lambda column: column.take(steps, axis=0), done.actions),
            action_logp=done.logp().take(steps),
            rewards=rows.real_or_0(done.rewards),
            terminated=rows.real_or_0(terminated),
            truncated=rows.real_or_0(truncated),
            lengths=rows.lengths,
            final_obs=log.seen_last(done.last[left], done.pairs[left], agents.group_of(done.pairs), done.obs),
            final_index=rows.index[left],
            sequences=self._sequences(done, rows),
            weights_version=weights_version,
        )

    def _sequences(self, done: _Done, rows: _Rows) -> SequenceStarts | None:
        if self._marks is None:
            return None
        starts = self._marks.finish()
        time, pair = starts.index.T
        keys = done.times * self._num_pairs + done.pairs  # ascending, as steps were kept in order
        events = np.searchsorted(keys, time * self._num_pairs + pair)
        kept = done.complete[events]
        return SequenceStarts(
            index=rows.index[events[kept]],
            state=map_nest(lambda leaf: leaf[kept], starts.state),
            begins=starts.begins[kept],
            anew=starts.anew[kept],
            max_len=starts.max_len,
            burn_in=starts.burn_in,
        )

    def _open_steps(self, done: _Done) -> OpenSteps | None:
        events = np.flatnonzero(~done.complete)
        if not len(events):
            return None
        events = events[np.argsort(done.pairs[events])]
        pairs = done.pairs[events]
        obs, actions = (map_nest(lambda column: column[events], part) for part in (done.obs, done.actions))
        inputs, flat = done.inputs[events], done.distribution
        draw = Draw(actions, None, inputs) if flat is None else Draw(actions, flat.with_inputs(inputs), None)
        before = () if self._marks is None else map_nest(lambda leaf: leaf[pairs], self._before)
        return OpenSteps(Acted(pairs, obs, draw, *before), done.rewards[events])

    def _write_before(self, pairs: IntArray, before: Nest) -> None:
        if self._before is None:
            self._before = map_nest(
                lambda leaf: np.zeros((self._num_pairs, *leaf.shape[1:]), leaf.dtype), before
            )
        for column, leaf in zip(leaves(self._before), leaves(before), strict=True):
            column[pairs] = leaf


@dataclass(frozen=True)
class _Done:
    """All that a module did, in order of time and then pair, and what came of it."""

    times: IntArray  # [N]
    pairs: IntArray  # [N]
    last: IntArray  # [N] the step that completed it, or the last one there is
    complete: BoolArray  # [N]
    obs: Nest  # [N, ...]
    actions: Nest  # [N, ...]
    inputs: Array  # [N, n], or [N] where there is no distribution
    distribution: NumpyDistribution | None
    rewards: Array  # [N]

    def logp(self) -> npt.NDArray[np.float32]:
        """Return the log-probs `[N]` of the policy that acted."""
        if self.distribution is None:
            return self.inputs
        logp: Array = self.distribution.with_inputs(self.inputs).logp(self.actions)
        return logp.astype(np.float32, copy=False)


class _Rows:
    """Where steps stand in a fragment: a row for each pair with a complete one, in the order of pairs."""

    def __init__(self, done: _Done) -> None:
        lengths = np.bincount(done.pairs[done.complete])
        self.pairs: IntArray = np.flatnonzero(lengths)  # others have at most a step that is open
        self.lengths: IntArray = lengths[self.pairs]
        counts = np.bincount(done.pairs)
        row_of = np.full(len(counts), -1)
        row_of[self.pairs] = np.arange(len(self.pairs))
        begins = np.cumsum(counts) - counts
        order = np.argsort(done.pairs, kind="stable")
        pairs = done.pairs[order]
        position, row = np.arange(len(order)) - begins[pairs], row_of[pairs]
        self.index: IntArray = np.empty((len(order), 2), np.int64)
        """`[N, 2]` the (t, row) of each step, complete or not."""
        self.index[order, 0], self.index[order, 1] = position, row
        # padding is a copy of the first step of its row, so that it is valid
        self.events: IntArray = np.empty((int(self.lengths.max()) + 1, len(self.lengths)), np.int64)
        """`[T + 1, rows]` which step stands there; what follows the last one, where it is open already."""
        self.events[:] = order[begins[self.pairs]]
        shown = row >= 0
        self.events[position[shown], row[shown]] = order[shown]
        self._complete = done.complete
        self._columns = np.arange(len(self.lengths))

    def lasting(self, going: BoolArray) -> IntArray:
        """Return the rows whose last step is `going` `[N]` on, and is followed by nothing that was done."""
        last = self.events[self.lengths - 1, self._columns]
        after = self.events[self.lengths, self._columns]
        return np.flatnonzero(going[last] & self._complete[after])

    def real_or_0(self, column: Array) -> Array:
        """Return a column of steps, `[N]`, as `[T, rows]`, 0 on padding."""
        real = np.arange(len(self.events) - 1)[:, None] < self.lengths
        return np.where(real, column.take(self.events[:-1]), np.zeros((), column.dtype))
