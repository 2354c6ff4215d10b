"""What modules did for agents that act at their own pace -> a fragment each, a row for each agent.

Modules that act together are recorded together, and told apart when their fragments are made.

A step is complete when the agent gets its next observation or leaves; the rewards that come in between
add up. A step that is not complete when the fragment ends begins the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment, SequenceStarts
from rlmodule_algos.sampling.agent_rows import Done, Rows
from rlmodule_algos.sampling.agents import Acted, Agents
from rlmodule_algos.sampling.finite import require_finite
from rlmodule_algos.sampling.recorder import acted
from rlmodule_algos.sampling.recurrent_state import SequenceMarks
from rlmodule_algos.sampling.step_log import StepLog
from rlmodule_core import RLModule
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
    """Keeps what a crew acted on, and what it did, while a fragment is recorded."""

    def __init__(self, first: RLModule, num_pairs: int, open_steps: Sequence[OpenSteps] = ()) -> None:
        """Begin with the steps that the last fragments left open; `first` is a member of the crew."""
        self._num_pairs = num_pairs
        self._times: list[int] = []  # -1: before this fragment
        self._acted: list[Acted] = []
        self._inputs: list[Array] = []  # parameters of the distributions, or log-probs where there are none
        # a module with a memory acts alone
        self._marks = SequenceMarks(first, num_pairs) if first.is_stateful() else None
        self._before: Nest = None  # [P, ...] state and freshness before the last step of each pair
        self._carried = [steps.rewards for steps in open_steps]
        for steps in open_steps:
            self.act(-1, steps.acted)
            if self._marks is not None:  # the weights may have moved since, so they lead to another state
                self._marks.restart(steps.acted.pairs)

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
        self, log: StepLog, agents: Agents, learns: Collection[int], weights_version: int
    ) -> tuple[dict[int, Fragment], dict[int, OpenSteps]]:
        """Return the complete steps, and those that begin the next fragment, of each module that `learns`.

        Modules are told by their numbers; one that has none is left out. Raises EnvError if a number is not
        finite.
        """
        done = self._done(log)
        learned = np.isin(done.module_of, list(learns))
        if not learned.all():
            done = done.some(np.flatnonzero(learned))
        if not done.complete.any():
            return {}, self._open_steps(done)
        rows = Rows(done, self._num_pairs)
        whole = self._fragment(done, rows, log, agents, weights_version)
        space = agents.action_space_of(done.pairs)
        require_finite(whole, space, lambda row: agents.name_of(int(rows.pairs[row])))
        mine = rows.by_module()
        fragments = {number: whole if len(mine) == 1 else _of_rows(whole, part) for number, part in mine}
        return fragments, self._open_steps(done)

    def _done(self, log: StepLog) -> Done:
        sizes = [len(step.pairs) for step in self._acted]
        pairs = np.concatenate([step.pairs for step in self._acted])
        times = np.repeat(self._times, sizes)
        first = np.maximum(times, 0)
        until = log.completed[first, pairs]
        last = np.minimum(until, len(log.rewards) - 1)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite, with its place
            rewards = log.paid(first, last, pairs)
            if self._carried:
                carried = np.concatenate(self._carried)
                rewards[: len(carried)] += carried
        return Done(
            times=times,
            pairs=pairs,
            module_of=np.concatenate([step.module_of for step in self._acted]),
            last=last,
            complete=until < len(log.rewards),
            obs=concatenated([step.obs for step in self._acted]),
            actions=concatenated([step.draw.actions for step in self._acted]),
            inputs=np.concatenate(self._inputs),
            distribution=self._acted[-1].draw.distribution,
            rewards=rewards,
        )

    def _fragment(
        self, done: Done, rows: Rows, log: StepLog, agents: Agents, weights_version: int
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

    def _sequences(self, done: Done, rows: Rows) -> SequenceStarts | None:
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

    def _open_steps(self, done: Done) -> dict[int, OpenSteps]:
        found: dict[int, OpenSteps] = {}
        every = np.flatnonzero(~done.complete)
        for number in np.unique(done.module_of[every]).tolist():
            events = every[done.module_of[every] == number]
            part = done.some(events[np.argsort(done.pairs[events])])
            before = () if self._marks is None else map_nest(lambda leaf: leaf[part.pairs], self._before)  # noqa: B023
            found[number] = OpenSteps(
                Acted(part.pairs, part.module_of, part.obs, part.draw(), *before), part.rewards
            )
        return found

    def _write_before(self, pairs: IntArray, before: Nest) -> None:
        if self._before is None:
            self._before = map_nest(
                lambda leaf: np.zeros((self._num_pairs, *leaf.shape[1:]), leaf.dtype), before
            )
        for column, leaf in zip(leaves(self._before), leaves(before), strict=True):
            column[pairs] = leaf


def _of_rows(fragment: Fragment, rows: slice) -> Fragment:
    """Return a fragment of some rows, in memory of its own, and no longer than the longest of them."""
    steps = int(fragment.lengths[rows].max())
    time, row = fragment.final_index.T
    mine = (row >= rows.start) & (row < rows.stop)

    def cut(column: Nest, steps: int = steps) -> Nest:
        return map_nest(lambda leaf: leaf[:steps, rows].copy(), column)

    return Fragment(
        obs=cut(fragment.obs, steps + 1),
        actions=cut(fragment.actions),
        action_logp=cut(fragment.action_logp),
        rewards=cut(fragment.rewards),
        terminated=cut(fragment.terminated),
        truncated=cut(fragment.truncated),
        lengths=fragment.lengths[rows],
        final_obs=map_nest(lambda leaf: leaf[mine], fragment.final_obs),
        final_index=np.stack([time[mine], row[mine] - rows.start], axis=1),
        weights_version=fragment.weights_version,
    )
