"""Many copies of a multi-agent environment as arrays: one row an agent, one column a copy.

Which places of an array are real is said beside it, so that a policy sees one batch of all its agents
and never a loop over environments or agents.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs.agent_groups import AgentGroups, Columns
from rlmodule_core.nest import Nest, map_nest

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


class MultiAgentStep(NamedTuple):
    """What one call returned; the caller may keep the arrays. `A` are all possible agents, in their order.

    Who acts next, in environment i, are the agents with `has_obs` and neither flag, unless it is `over`.
    An agent that comes and leaves in the same step never acts and is not told of.
    """

    obs: Columns  # of each of the env's `groups`; anything where an agent got no observation
    has_obs: BoolArray  # [A, n] it got an observation now, a final one too
    rewards: FloatArray  # [A, n] 0 where none came; also for agents that did not act
    terminated: BoolArray  # [A, n] it left now; "__all__" is spread over those without a flag
    truncated: BoolArray  # [A, n] likewise; with both flags an agent is terminated
    over: BoolArray  # [n] the whole episode is over: "__all__", or nobody is left

    def replaced(self, other: MultiAgentStep, rows: BoolArray) -> MultiAgentStep:
        """Return this step with what `other` says of some environments, `rows` `[n]`."""

        def merged(mine: Nest, theirs: Nest) -> Nest:
            chosen = np.tile(rows, len(mine) // len(rows))
            return np.where(chosen.reshape(-1, *[1] * (mine.ndim - 1)), theirs, mine)

        obs = [map_nest(merged, *columns) for columns in zip(self.obs, other.obs, strict=True)]
        flags = (np.where(rows, theirs, mine) for mine, theirs in zip(self[1:], other[1:], strict=True))
        return MultiAgentStep(obs, *flags)


class MultiAgentVectorEnv(abc.ABC):
    """`num_envs` episodes side by side. None restarts by itself: the caller resets what is over."""

    num_envs: int
    possible_agents: tuple[str, ...]
    observation_spaces: Mapping[str, gym.Space[Any]]  # of one environment
    action_spaces: Mapping[str, gym.Space[Any]]

    @cached_property
    def groups(self) -> AgentGroups:
        """Which agents share columns of observations and actions, and the way from and to dicts by agent."""
        return AgentGroups(self.possible_agents, self.observation_spaces, self.action_spaces, self.num_envs)

    @abc.abstractmethod
    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Start episodes in these `rows` `[n]`, or in all; environment i is seeded with `seed + i`.

        The other rows keep their state; in the result their `has_obs` is False.
        """

    @abc.abstractmethod
    def step(self, actions: Columns, acting: BoolArray) -> MultiAgentStep:
        """Step every environment; `acting` `[A, n]` says where the `actions` of the `groups` are real.

        A group of which nobody acts may be None.
        Raises EnvError for what an environment does wrong (all must be reset then), and ValueError if an
        episode is over, or if the agents that act are not those that the last call gave an observation.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close the environments."""
