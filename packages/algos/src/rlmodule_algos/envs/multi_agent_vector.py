"""Many copies of a multi-agent environment as arrays: agent -> `[n, ...]`, one row a copy.

Which rows of an agent's array are real is said beside it, so that a policy sees one batch an agent
and never a loop over environments.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


class MultiAgentStep(NamedTuple):
    """What one call returned; every dict has all possible agents, and the caller may keep the arrays.

    Who acts next, in row i, are the agents with `has_obs` and neither flag, unless the row is `over`.
    An agent that comes and leaves in the same step never acts and is not told of.
    """

    obs: dict[str, Nest]  # [n, ...]; anything where the agent got no observation
    has_obs: dict[str, BoolArray]  # [n] it got an observation now, a final one too
    rewards: dict[str, FloatArray]  # [n] 0 where none came; also for agents that did not act
    terminated: dict[str, BoolArray]  # [n] it left now; "__all__" is spread over those without a flag
    truncated: dict[str, BoolArray]  # [n] likewise; with both flags an agent is terminated
    over: BoolArray  # [n] the whole episode is over: "__all__", or nobody is left


class MultiAgentVectorEnv(abc.ABC):
    """`num_envs` episodes side by side. None restarts by itself: the caller resets what is over."""

    num_envs: int
    possible_agents: tuple[str, ...]
    observation_spaces: Mapping[str, gym.Space[Any]]  # of one environment
    action_spaces: Mapping[str, gym.Space[Any]]

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Start episodes in these `rows` `[n]`, or in all; environment i is seeded with `seed + i`.

        The other rows keep their state; in the result their `has_obs` is False.
        """

    @abc.abstractmethod
    def step(self, actions: Mapping[str, Nest], acting: Mapping[str, BoolArray]) -> MultiAgentStep:
        """Step every environment; `acting` `[n]` says in which an agent's `actions` `[n, ...]` are real.

        Who acts nowhere may be missing from `actions`.
        Raises EnvError for what an environment does wrong (all must be reset then), and ValueError if a
        row is over, or if the agents that act are not those that the last call gave an observation.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the environments."""
