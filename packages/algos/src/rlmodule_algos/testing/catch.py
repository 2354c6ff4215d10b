"""Catch on 8x8 pixels: does a policy read images?

Observation: uint8 `[8, 8, 3]`, 0 or 255. Red (0) is the ball, green (1) the paddle in the last row,
blue (2) one pixel somewhere that means nothing and is drawn anew at every step. Ball and paddle start
in columns drawn uniformly. The ball falls one row a step; the actions move the paddle left, not, or
right, and the wall stops it. After 7 steps the reward is +1 if the paddle is under the ball, else -1.

return of                           exactly  because
any policy blind to the ball        -0.75    its column is uniform: 1/8 caught; also a random policy
the best policy blind to the paddle +0.625   13/16 caught; the best of all 3^7 courses for every column
the best policy                     +1       7 steps reach every column
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from rlmodule_algos.testing.task import BoolArray, FloatArray, IntArray, Task, TaskPolicy
from rlmodule_core.nest import Nest

SIZE = 8
BALL, PADDLE, DISTRACTOR = range(3)


class Catch(Task):
    """See the module. `zeroed` is "ball" or "paddle": a channel that is black."""

    episode_steps = SIZE - 1
    scored_steps = 1
    zeroable: ClassVar[tuple[str, ...]] = ("ball", "paddle")

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__(env_config, spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8), num_actions=3)
        self._ball = np.zeros(self.num_envs, np.int64)
        self._paddle = np.zeros(self.num_envs, np.int64)
        self._distractor = np.zeros((self.num_envs, SIZE), np.int64)  # its pixel, at every step
        self._rows = np.arange(self.num_envs)

    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        self._ball[rows], self._paddle[rows] = self.np_random.integers(SIZE, size=(2, len(rows)))
        self._distractor[rows] = self.np_random.integers(SIZE * SIZE, size=(len(rows), SIZE))

    def _pay(self, actions: IntArray) -> FloatArray:
        self._paddle = np.clip(self._paddle + actions - 1, 0, SIZE - 1)
        won = np.where(self._paddle == self._ball, np.float32(1), np.float32(-1))
        return np.where(self._t == self.episode_steps - 1, won, np.float32(0))

    def _observe(self) -> Nest:
        image = np.zeros((self.num_envs, SIZE, SIZE, 3), np.uint8)
        distractor = self._distractor[self._rows, self._t]
        image[self._rows, distractor // SIZE, distractor % SIZE, DISTRACTOR] = 255
        if self.zeroed != "ball":
            image[self._rows, self._t, self._ball, BALL] = 255
        if self.zeroed != "paddle":
            image[self._rows, SIZE - 1, self._paddle, PADDLE] = 255
        return image

    def expert(self) -> TaskPolicy:
        """Move towards the ball; blind to whatever is zeroed."""
        return _towards_the_ball


def _towards_the_ball(obs: Nest, starts: BoolArray) -> Nest:
    ball = obs[..., BALL].max(axis=1).argmax(axis=1)
    paddle = obs[:, SIZE - 1, :, PADDLE].argmax(axis=1)
    return 1 + np.sign(ball - paddle)
