"""An environment in which several agents act, each with spaces of its own.

Everything that passes in and out is a dict by agent id. An agent acts in the next step exactly when
this step (or the reset) gave it an observation, so that taking turns needs nothing more than giving
the observation to the one whose turn it is.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, TypeAlias

import gymnasium as gym

from rlmodule_algos.envs.multi_agent_vector import MultiAgentVectorEnv
from rlmodule_core.nest import Nest

ALL_AGENTS = "__all__"

Observations: TypeAlias = Mapping[str, Nest]
Infos: TypeAlias = Mapping[str, Any]
Flags: TypeAlias = Mapping[str, bool]
Answer: TypeAlias = tuple[Observations, Mapping[str, float], Flags, Flags, Infos]
"""What a step returns: observations, rewards, terminateds, truncateds, infos."""


class MultiAgentEnv(abc.ABC):
    """Subclass it: set the three attributes in the constructor, write `reset` and `step`."""

    possible_agents: list[str]
    """Every id that may ever appear; never `"__all__"`."""
    observation_spaces: Mapping[str, gym.Space[Any]]
    action_spaces: Mapping[str, gym.Space[Any]]

    @abc.abstractmethod
    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Start an episode; return the observations of those who act first, and infos.

        With a seed, draw everything from it from now on; without, go on with the generator there is.
        """

    @abc.abstractmethod
    def step(self, actions: Mapping[str, Nest]) -> Answer:
        """Act with those that have an observation; return what came of it.

        An agent comes when it first gets an observation, and leaves when its flag is True. A missing
        flag is False, a missing reward 0; a reward may also go to an agent that did not act. Both flag
        dicts have the key `"__all__"`: True ends the episode for all whose own flags are False.
        Who leaves truncated gets its final observation; who leaves terminated may get one.
        """

    def close(self) -> None:  # noqa: B027
        """Give back what the environment holds. Nothing, unless overridden."""

    @classmethod
    def make_vector(cls, env_config: Mapping[str, Any], num_envs: int) -> MultiAgentVectorEnv | None:
        """Return `num_envs` environments stepped as one, or None: then copies are stepped in turn."""
        return None
