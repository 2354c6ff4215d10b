"""What the tasks share: `num_envs` episodes of the same length side by side, in plain NumPy.

A step of all of them is a few array operations, so that a learning test of 100 000 steps spends
its time on learning. gymnasium's autoreset mode is DISABLED: an observation that ends an episode
is the true one, and the caller resets.
"""

from __future__ import annotations

import abc
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from rlmodule_algos.envs import EnvError
from rlmodule_core.nest import Nest

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

TaskPolicy: TypeAlias = Callable[[Nest, BoolArray], Nest]
"""(observations `[B, ...]`, which of the B episodes begin with theirs) -> actions `[B, ...]`."""

DEFAULT_NUM_ENVS = 16


class Task(VectorEnv[Any, Any, Any]):
    """Episodes of `episode_steps` steps, of which `scored_steps` pay at most 1 each.

    `env_config` has `num_envs` (16 unless given), and where the class has `zeroable` parts of its
    observation, `zeroed`: the one that is always 0. Raises EnvError for anything else.
    """

    episode_steps: ClassVar[int]
    scored_steps: ClassVar[int]
    zeroable: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        env_config: Mapping[str, Any],
        observation_space: gym.Space[Any],  # of one environment
        num_actions: int,
    ) -> None:
        name = type(self).__name__
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        known = ("num_envs", "zeroed") if self.zeroable else ("num_envs",)
        self.num_envs = read_num_envs(name, env_config, known=known)
        self.zeroed: str | None = env_config.get("zeroed")
        if self.zeroed is not None and self.zeroed not in self.zeroable:
            raise EnvError(f"{name}: zeroed: expected one of {list(self.zeroable)}, got {self.zeroed!r}")
        self.single_observation_space = observation_space
        self.single_action_space = spaces.Discrete(num_actions)
        self.observation_space = batch_space(observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._num_actions = num_actions
        self._t = np.full(self.num_envs, self.episode_steps)  # steps done; all must be reset first

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Nest, dict[str, Any]]:
        """Begin the episodes of the rows in `options["reset_mask"]`, or all."""
        super().reset(seed=seed)
        mask = (options or {}).get("reset_mask")
        rows = np.arange(self.num_envs) if mask is None else np.flatnonzero(mask)
        self._t[rows] = 0
        self._begin(rows, seeded=seed is not None)
        return self._observe(), {}

    def step(self, actions: Nest) -> tuple[Nest, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Pay for the actions; the last step of an episode terminates it."""
        actions = np.asarray(actions)
        self._require_playable(actions)
        rewards = self._pay(actions)
        self._t += 1
        return self._observe(), rewards, self._t == self.episode_steps, np.zeros(self.num_envs, np.bool_), {}

    def _require_playable(self, actions: npt.NDArray[Any]) -> None:
        name, last = type(self).__name__, self._num_actions - 1
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            found = f"{actions.dtype} {list(actions.shape)}"
            raise ValueError(f"{name}: actions: expected integers [{self.num_envs}], got {found}")
        if actions.min() < 0 or actions.max() > last:
            raise ValueError(f"{name}: actions: expected 0 to {last}, got {actions.tolist()}")
        if self._t.max() == self.episode_steps:
            over = np.flatnonzero(self._t == self.episode_steps).tolist()
            raise ValueError(f"{name}: the episodes in the rows {over} are over; reset them first")

    @abc.abstractmethod
    def _begin(self, rows: IntArray, *, seeded: bool) -> None:
        """Draw what is hidden in the episodes that begin in these rows."""

    @abc.abstractmethod
    def _pay(self, actions: IntArray) -> FloatArray:
        """Do what the actions do, and return the rewards `[num_envs]`."""

    @abc.abstractmethod
    def _observe(self) -> Nest:
        """Return new arrays, `[num_envs, ...]`."""

    @abc.abstractmethod
    def expert(self) -> TaskPolicy:
        """Return a policy that gets the best return there is, with a memory of its own if it needs one."""


def read_num_envs(name: str, env_config: Mapping[str, Any], *, known: Sequence[str]) -> int:
    """Return `num_envs`. Raises EnvError if it is no positive int, or if there are unknown options."""
    for key in env_config:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {list(known)}"
            raise EnvError(f"{name}: unknown option {key!r} in env_config; {hint}")
    num_envs = env_config.get("num_envs", DEFAULT_NUM_ENVS)
    if not isinstance(num_envs, int) or isinstance(num_envs, bool) or num_envs < 1:
        raise EnvError(f"{name}: num_envs: expected a positive int, got {num_envs!r}")
    return num_envs
