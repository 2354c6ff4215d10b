"""Columns for one fragment of environments in step, allocated once and written row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment
from rlmodule_algos.batching.fragment import without_holes
from rlmodule_algos.envs import Transition
from rlmodule_algos.sampling.acting import Draw
from rlmodule_algos.sampling.recurrent_state import CarriedState, SequenceMarks
from rlmodule_core.nest import Nest, concatenated, leaves, map_nest

Array = npt.NDArray[Any]


class Recorder:
    """Collects up to `num_steps` steps of `num_rows` rows; `marks` where the module is stateful."""

    def __init__(self, num_steps: int, num_rows: int, marks: SequenceMarks | None = None) -> None:
        self._shape = (num_steps, num_rows)
        self._t = 0
        self._rewards = np.empty(self._shape, np.float64)  # as they come, so that casting is one operation
        self._terminated = np.empty(self._shape, np.bool_)
        self._truncated = np.empty(self._shape, np.bool_)
        self._holes: Array | None = None  # rows that were no steps, [T, B]
        self._final_index: list[Array] = []
        self._final_obs: list[Nest] = []
        self._marks = marks
        self._rows = np.arange(num_rows)

    def _allocate(self, obs: Nest, draw: Draw) -> None:
        """Make the columns whose shapes the first step shows."""
        steps, _rows = self._shape
        self._obs = map_nest(lambda leaf: np.empty((steps + 1, *leaf.shape), leaf.dtype), obs)
        self._obs_leaves = leaves(self._obs)
        self._actions = map_nest(lambda leaf: np.empty((steps, *leaf.shape), leaf.dtype), draw.actions)
        self._action_leaves = leaves(self._actions)
        self._distribution = draw.distribution
        # one column serves both: the distributions' parameters, or the log-probs where there are none
        self._acted = np.empty((steps, *acted(draw).shape), np.float32)

    def act(self, obs: Nest, draw: Draw, state: CarriedState | None = None) -> None:
        """Record what is acted on, before the environment may overwrite it, and the actions drawn.

        `state` is that of a stateful module before the step.
        """
        t = self._t
        if t == 0:
            self._allocate(obs, draw)
        for column, leaf in zip(self._obs_leaves, leaves(obs), strict=True):
            column[t] = leaf
        for column, leaf in zip(self._action_leaves, leaves(draw.actions), strict=True):
            column[t] = leaf
        self._acted[t] = acted(draw)
        if self._marks is not None and state is not None:
            self._marks.step(t, self._rows, state.now, state.fresh)

    def step(self, transition: Transition) -> None:
        """Record what came of the actions."""
        t = self._t
        self._rewards[t] = transition.rewards
        self._terminated[t] = transition.terminated
        self._truncated[t] = transition.truncated
        if transition.ended is not None:
            rows = np.flatnonzero(transition.ended)
            self._final_index.append(np.stack([np.full_like(rows, t), rows], axis=1))
            self._final_obs.append(transition.final_obs)
        if transition.resets is not None:
            if self._holes is None:
                self._holes = np.zeros(self._shape, np.bool_)
            self._holes[t] = transition.resets
        if transition.begins is not None and self._marks is not None:
            self._marks.restart(transition.begins)
        self._t = t + 1

    def finish(self, next_obs: Nest, weights_version: int) -> Fragment:
        """Return the fragment; `next_obs` `[B, ...]` is what each row acts on next."""
        steps, rows = self._shape
        for column, leaf in zip(self._obs_leaves, leaves(next_obs), strict=True):
            column[steps] = leaf
        if self._final_obs:
            final_obs = concatenated(self._final_obs)
            final_index = np.concatenate(self._final_index)
        else:
            final_obs = map_nest(lambda column: column[0, :0], self._obs)
            final_index = np.zeros((0, 2), np.int64)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused as infinite, with its place
            rewards = self._rewards.astype(np.float32)
        fragment = Fragment(
            obs=self._obs,
            actions=self._actions,
            action_logp=self._logp(),
            rewards=rewards,
            terminated=self._terminated,
            truncated=self._truncated,
            lengths=np.full(rows, steps),
            final_obs=final_obs,
            final_index=final_index,
            sequences=None if self._marks is None else self._marks.finish(),
            weights_version=weights_version,
        )
        return fragment if self._holes is None else without_holes(fragment, self._holes)

    def _logp(self) -> Array:
        """The log-probs of all actions, in one pass over the parameters that were recorded."""
        if self._distribution is None:
            return self._acted
        logp: Array = self._distribution.with_inputs(self._acted).logp(self._actions)
        return logp.astype(np.float32, copy=False)


def acted(draw: Draw) -> Array:
    """The distributions' parameters, `[B, n]`, or the log-probs, `[B]`, where there are none."""
    if draw.distribution is not None:
        return draw.distribution.inputs
    if draw.logp is None:
        raise ValueError("a draw has either a distribution or log-probs")
    return draw.logp
