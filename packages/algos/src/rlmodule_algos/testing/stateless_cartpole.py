"""CartPole whose observation is position and angle alone: memory has to tell the velocities.

mean return of                                      is about  by
always the same push                                   9.3    simulation
random pushes                                         22.2    simulation; a policy without eyes
a push towards the lean, sign(angle)                  42      simulation
the best memoryless policy known                      45-66   search over logistic policies
the expert, which remembers one observation          500      simulation; the limit of an episode

So 150 needs memory. There is no closed form: the tests simulate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from rlmodule_algos.envs import ManualCartPoles
from rlmodule_algos.testing.task import BoolArray, TaskPolicy, read_num_envs
from rlmodule_core.nest import Nest

SEEN = [0, 2]  # of position, velocity, angle, angular velocity
SECONDS = 0.02  # a step
PUSH = np.array([0.02, 1.0]), np.array([0.06, 0.35])  # weights of what is seen, and of its speed


class StatelessCartPole(ManualCartPoles):
    """See the module. `env_config` has `num_envs`, 16 unless given."""

    episode_steps: ClassVar[int] = 500
    scored_steps: ClassVar[int] = 500

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__(read_num_envs("StatelessCartPole", env_config, known=("num_envs",)))
        farthest = np.array([2 * self.x_threshold, 2 * self.theta_threshold_radians], np.float32)
        self.single_observation_space = spaces.Box(-farthest, farthest)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Start episodes in the rows of `options["reset_mask"]`, or in all."""
        obs, infos = super().reset(seed=seed, options=options)
        return obs[:, SEEN], infos

    def step(
        self, action: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], BoolArray, BoolArray, dict[str, Any]]:
        """Step all."""
        obs, rewards, terminated, truncated, infos = super().step(action)
        return obs[:, SEEN], rewards, terminated, truncated, infos

    def expert(self) -> TaskPolicy:
        """Push with the lean and with its speed, told by the observation before."""
        return _Balancer()


class _Balancer:
    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None

    def __call__(self, obs: Nest, starts: BoolArray) -> Nest:
        before = obs if self._before is None else np.where(starts[:, None], obs, self._before)
        self._before = obs
        speed = (obs - before) / SECONDS
        return (obs @ PUSH[0] + speed @ PUSH[1] > 0).astype(np.int64)
