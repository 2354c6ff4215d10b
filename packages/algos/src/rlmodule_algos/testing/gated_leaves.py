"""GatedLeaves: does a policy read every leaf of a nested observation?

Four numbers 0-3, drawn anew at each of 8 steps, each in a leaf of another kind:

leaf    space                          shows its number as
a       Discrete(4)                    itself
b.vec   Box [4]                        one-hot, with uniform noise of at most 0.1
c[0]    Box uint8 [8, 8, 1]            the bright quadrant: 0 and 1 above, 2 and 3 below
c[1]    MultiBinary(2)                 binary digits, the higher one first
sel     Discrete(4)                    which of the four (a, b.vec, c[0], c[1]) is the right action

The reward is 1 for the right action, and no action changes anything, so gamma 0 suits it.

score = return / 8                     exactly  because
random                                 0.25
the best policy without `sel`          0.53125  the number that occurs most often, 136/256
the best policy without one number     0.8125   3/4 + 1/4 * 1/4
the best policy                        1        the noise never hides the largest part
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from rlmodule_algos.testing.task import BoolArray, FloatArray, IntArray, Task, TaskPolicy
from rlmodule_core.nest import Nest

NUM_VALUES = 4
NOISE = 0.1
SIDE = 8
ONE_HOT = np.eye(NUM_VALUES, dtype=np.float32)
QUADRANTS = np.kron(np.eye(4).reshape(4, 2, 2), np.full((SIDE // 2, SIDE // 2), 255)).astype(np.uint8)
DIGITS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int8)


class GatedLeaves(Task):
    """See the module. `zeroed` names a leaf that is always 0."""

    episode_steps = 8
    scored_steps = 8
    zeroable: ClassVar[tuple[str, ...]] = ("sel", "a", "b.vec", "c[0]", "c[1]")

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        image = spaces.Box(0, 255, (SIDE, SIDE, 1), np.uint8)
        space = spaces.Dict(
            {
                "sel": spaces.Discrete(NUM_VALUES),
                "a": spaces.Discrete(NUM_VALUES),
                "b": spaces.Dict({"vec": spaces.Box(-NOISE, 1 + NOISE, (NUM_VALUES,), np.float32)}),
                "c": spaces.Tuple([image, spaces.MultiBinary(2)]),
            }
        )
        super().__init__(env_config, space, num_actions=NUM_VALUES)
        self._rows = np.arange(self.num_envs)
        moments = self.episode_steps + 1  # what ends an episode is an observation too
        self._drawn = np.zeros((5, self.num_envs, moments), np.int64)  # the four numbers, and `sel`
        self._noise = np.zeros((self.num_envs, moments, NUM_VALUES), np.float32)

    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        moments = self.episode_steps + 1
        self._drawn[:, rows] = self.np_random.integers(NUM_VALUES, size=(5, len(rows), moments))
        noise = self.np_random.random((len(rows), moments, NUM_VALUES), dtype=np.float32)
        self._noise[rows] = NOISE * (2 * noise - 1)

    def _pay(self, actions: IntArray) -> FloatArray:
        selected = self._drawn[4, self._rows, self._t]
        right: BoolArray = actions == self._drawn[selected, self._rows, self._t]
        return right.astype(np.float32)

    def _observe(self) -> Nest:
        values = self._drawn[:, self._rows, self._t]
        shown = {
            "sel": values[4],
            "a": values[0],
            "b.vec": ONE_HOT[values[1]] + self._noise[self._rows, self._t],
            "c[0]": QUADRANTS[values[2], :, :, None],
            "c[1]": DIGITS[values[3]],
        }
        if self.zeroed is not None:
            shown[self.zeroed] = np.zeros_like(shown[self.zeroed])
        return {
            "sel": shown["sel"],
            "a": shown["a"],
            "b": {"vec": shown["b.vec"]},
            "c": (shown["c[0]"], shown["c[1]"]),
        }

    def expert(self) -> TaskPolicy:
        """Read all leaves; what is zeroed reads as 0."""
        return _selected


def read_values(obs: Nest) -> IntArray:
    """Return the four numbers that an observation shows, `[4, B]`."""
    image, digits = obs["c"]
    half = SIDE // 2
    corners = image[:, ::half, ::half, 0].reshape(-1, 4)
    numbers: IntArray = np.stack(
        [obs["a"], obs["b"]["vec"].argmax(axis=1), corners.argmax(axis=1), 2 * digits[:, 0] + digits[:, 1]]
    ).astype(np.int64)
    return numbers


def _selected(obs: Nest, starts: BoolArray) -> Nest:
    return read_values(obs)[obs["sel"], np.arange(len(obs["sel"]))]
