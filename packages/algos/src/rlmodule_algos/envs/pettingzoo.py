"""PettingZoo's parallel API -> MultiAgentEnv, recognised by its form, so that nothing needs PettingZoo.

https://pettingzoo.farama.org/api/parallel/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlmodule_algos.envs.multi_agent import ALL_AGENTS, Answer, MultiAgentEnv
from rlmodule_core.nest import Nest


def is_parallel_env(made: object) -> bool:
    """Whether an object has what a PettingZoo parallel environment has."""
    methods = ("observation_space", "action_space", "reset", "step")
    return (
        not isinstance(made, (type, MultiAgentEnv))
        and hasattr(made, "possible_agents")
        and all(callable(getattr(made, method, None)) for method in methods)
        and not is_turn_based_env(made)
    )


def is_turn_based_env(made: object) -> bool:
    """Whether an object has what an environment of PettingZoo's other API, AEC, has."""
    return all(callable(getattr(made, method, None)) for method in ("agent_iter", "last", "observe"))


class ParallelEnvAdapter(MultiAgentEnv):
    """A PettingZoo parallel environment; its `agents` say who is still in the episode."""

    def __init__(self, env: Any) -> None:  # of a package that need not be installed
        self.env = env
        self.possible_agents = list(env.possible_agents)
        self.observation_spaces = {agent: env.observation_space(agent) for agent in self.possible_agents}
        self.action_spaces = {agent: env.action_space(agent) for agent in self.possible_agents}

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Mapping[str, Nest], Mapping[str, Any]]:
        """Start an episode."""
        answer: tuple[Mapping[str, Nest], Mapping[str, Any]] = self.env.reset(seed=seed, options=options)
        return answer

    def step(self, actions: Mapping[str, Nest]) -> Answer:
        """Step all agents at once; who is no longer among `agents` and has no flag is terminated."""
        obs, rewards, terminations, truncations, infos = self.env.step(actions)
        staying = set(self.env.agents)
        flagged = {agent for flags in (terminations, truncations) for agent, flag in flags.items() if flag}
        left = {agent: True for agent in actions if agent not in staying | flagged}
        over = not staying
        terminateds = {**terminations, **left, ALL_AGENTS: over}
        return obs, rewards, terminateds, {**truncations, ALL_AGENTS: False}, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
