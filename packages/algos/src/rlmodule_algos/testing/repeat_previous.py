"""Three tasks about memory: does a recurrent policy remember what it should, and forget the rest?

RepeatPrevious: at each of 32 steps a token of 4 is drawn uniformly and shown as one-hot `[4]`; the
  reward is 1 if the action is the token shown 2 steps ago. The first two steps cannot be scored.
Recall: a cue of 4 is shown at the first of 8 steps, then nothing (zeros); the action of the last step
  is paid 1 if it is the cue.
PreviousEpisodeCue: a control. A cue is shown at the last of 8 steps; the actions of the *next*
  episode's first 7 steps are paid 1 if they are that cue. Who knows it carried state over the end.

score = return / scored_steps       exactly  because
random, and any memoryless policy   0.25     what is asked is independent of what is shown
the best policy                     1        of RepeatPrevious and Recall
any policy that starts afresh       0.25     of PreviousEpisodeCue; it can only be more by a leak
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from rlmodule_algos.testing.task import BoolArray, FloatArray, IntArray, Task, TaskPolicy
from rlmodule_core.nest import Nest

NUM_TOKENS = 4
DELAY = 2
SHOWN = np.eye(NUM_TOKENS + 1, NUM_TOKENS, dtype=np.float32)  # the last row shows nothing
BLANK = NUM_TOKENS


class _TokenTask(Task):
    """Shows one token, or none, and asks for one."""

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        space = spaces.Box(0.0, 1.0, (NUM_TOKENS,), np.float32)
        super().__init__(env_config, space, num_actions=NUM_TOKENS)

    def _draw(self, *shape: int) -> IntArray:
        return self.np_random.integers(NUM_TOKENS, size=shape)


class RepeatPrevious(_TokenTask):
    """Say what was shown two steps ago. See the module."""

    episode_steps = 32
    scored_steps = episode_steps - DELAY

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__(env_config)
        self._tokens = np.zeros((self.num_envs, self.episode_steps + 1), np.int64)  # also the final one
        self._rows = np.arange(self.num_envs)

    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        self._tokens[rows] = self._draw(len(rows), self.episode_steps + 1)

    def _pay(self, actions: IntArray) -> FloatArray:
        right: BoolArray = (actions == self._tokens[self._rows, self._t - DELAY]) & (self._t >= DELAY)
        return right.astype(np.float32)

    def _observe(self) -> Nest:
        return SHOWN[self._tokens[self._rows, self._t]]

    def expert(self) -> TaskPolicy:
        """Remember two tokens."""
        return _Delayed()


class _Delayed:
    """Says what it saw two calls ago, whatever episode that was: the first answers are not scored."""

    def __init__(self) -> None:
        self._before: list[IntArray] = []

    def __call__(self, obs: Nest, starts: BoolArray) -> Nest:
        self._before = [*self._before[-DELAY:], obs.argmax(axis=1)]
        return self._before[0]


class Recall(_TokenTask):
    """Say at the end what was shown at the beginning. See the module."""

    episode_steps = 8
    scored_steps = 1

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__(env_config)
        self._cue = np.zeros(self.num_envs, np.int64)

    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        self._cue[rows] = self._draw(len(rows))

    def _pay(self, actions: IntArray) -> FloatArray:
        right: BoolArray = (actions == self._cue) & (self._t == self.episode_steps - 1)
        return right.astype(np.float32)

    def _observe(self) -> Nest:
        return SHOWN[np.where(self._t == 0, self._cue, BLANK)]

    def expert(self) -> TaskPolicy:
        """Remember the cue."""
        return _FirstSeen()


class _FirstSeen:
    """Says the token that its episode began with."""

    def __init__(self) -> None:
        self._cue: IntArray | None = None

    def __call__(self, obs: Nest, starts: BoolArray) -> Nest:
        seen = obs.argmax(axis=1)
        self._cue = seen if self._cue is None else np.where(starts, seen, self._cue)
        return self._cue


class PreviousEpisodeCue(_TokenTask):
    """Asks for what the last episode showed: to be failed. See the module."""

    episode_steps = 8
    scored_steps = episode_steps - 1

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__(env_config)
        self._cue = np.full(self.num_envs, BLANK)
        self._answer = np.full(self.num_envs, BLANK)

    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        if seeded:
            self._cue[:] = BLANK  # no episode came before
        unheard, cue = self._draw(2, len(rows))
        self._answer[rows] = np.where(self._cue[rows] == BLANK, unheard, self._cue[rows])
        self._cue[rows] = cue

    def _pay(self, actions: IntArray) -> FloatArray:
        right: BoolArray = (actions == self._answer) & (self._t < self.scored_steps)
        return right.astype(np.float32)

    def _observe(self) -> Nest:
        return SHOWN[np.where(self._t == self.episode_steps - 1, self._cue, BLANK)]

    def expert(self) -> TaskPolicy:
        """Guess: without what the last episode showed there is nothing better."""
        return lambda obs, starts: np.zeros(len(obs), np.int64)
