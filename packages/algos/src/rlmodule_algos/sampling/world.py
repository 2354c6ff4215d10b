"""The environments of a run, whether one agent acts in each or many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvStream, MultiAgentVectorEnv, SideBySide
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.agents import PolicyMapping
from rlmodule_algos.sampling.env_runner import EnvRunner
from rlmodule_algos.sampling.episodes import Episode, Episodes
from rlmodule_algos.sampling.evaluation import evaluate_episodes
from rlmodule_algos.sampling.multi_agent_runner import MultiAgentEnvRunner, evaluate_agents
from rlmodule_core import DEFAULT_MODULE_ID, RLModule


class Spaces(NamedTuple):
    """What an agent sees and does."""

    observation: gym.Space[Any]
    action: gym.Space[Any]


class Played(NamedTuple):
    """Whole episodes that were played to evaluate."""

    episodes: list[Episode]
    module_returns: dict[str, list[float]]


class Runner(Protocol):
    """Steps environments and records."""

    env_seconds: float

    @property
    def episodes(self) -> Episodes: ...  # noqa: D102
    @property
    def num_envs(self) -> int: ...  # noqa: D102
    def collect(self, num_steps: int, *, weights_version: int = 0) -> dict[str, Fragment]: ...  # noqa: D102
    def forget(self, module_id: str) -> None: ...  # noqa: D102
    def get_state(self) -> dict[str, Any]: ...  # noqa: D102
    def set_state(self, state: dict[str, Any]) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class World(Protocol):
    """Environments, side by side, that were not acted in yet."""

    @property
    def agents(self) -> Mapping[str, Spaces]:
        """The spaces of every agent; a single agent has the id `default_agent`."""

    @property
    def num_envs(self) -> int:
        """How many there are: not always as many as were asked for."""

    def runner(
        self,
        modules: Mapping[str, RLModule],
        bridge: Bridge,
        *,
        learns: Callable[[], Collection[str]],
        seed: int | None,
    ) -> Runner:
        """Return what samples in these environments, and owns them from now on."""

    def evaluate(
        self, modules: Mapping[str, RLModule], bridge: Bridge, *, explore: bool, seed: int | None
    ) -> Played:
        """Play one episode in each environment."""

    def close(self) -> None:
        """Close the environments."""


SINGLE_AGENT = "default_agent"


class SingleAgentWorld:
    """A vector environment of gymnasium; the module `default_policy` acts in it."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self._stream = EnvStream(env)

    @property
    def agents(self) -> Mapping[str, Spaces]:
        """The one agent."""
        env = self._stream.env
        return {SINGLE_AGENT: Spaces(env.single_observation_space, env.single_action_space)}

    @property
    def num_envs(self) -> int:
        """How many there are."""
        return self._stream.env.num_envs

    def runner(
        self,
        modules: Mapping[str, RLModule],
        bridge: Bridge,
        *,
        learns: Callable[[], Collection[str]],
        seed: int | None,
    ) -> Runner:
        """Return an EnvRunner."""
        return EnvRunner(self._stream, modules[DEFAULT_MODULE_ID], bridge, seed=seed)

    def evaluate(
        self, modules: Mapping[str, RLModule], bridge: Bridge, *, explore: bool, seed: int | None
    ) -> Played:
        """Play one episode in each environment."""
        module = modules[DEFAULT_MODULE_ID]
        episodes = evaluate_episodes(self._stream, module, bridge, explore=explore, seed=seed)
        return Played(episodes, {DEFAULT_MODULE_ID: [episode.episode_return for episode in episodes]})

    def close(self) -> None:
        """Close the environments."""
        self._stream.close()


class MultiAgentWorld:
    """Environments of many agents, each of whom `mapping` gives a module."""

    def __init__(self, env: MultiAgentVectorEnv, mapping: PolicyMapping) -> None:
        self._env = env
        self._mapping = mapping

    @property
    def agents(self) -> Mapping[str, Spaces]:
        """Every agent that there may be."""
        env = self._env
        return {
            agent: Spaces(env.observation_spaces[agent], env.action_spaces[agent])
            for agent in env.possible_agents
        }

    @property
    def num_envs(self) -> int:
        """How many there are."""
        return self._env.num_envs

    def runner(
        self,
        modules: Mapping[str, RLModule],
        bridge: Bridge,
        *,
        learns: Callable[[], Collection[str]],
        seed: int | None,
    ) -> Runner:
        """Return a MultiAgentEnvRunner."""
        return MultiAgentEnvRunner(self._env, modules, self._mapping, bridge, learns=learns, seed=seed)

    def evaluate(
        self, modules: Mapping[str, RLModule], bridge: Bridge, *, explore: bool, seed: int | None
    ) -> Played:
        """Play one episode in each environment."""
        played = evaluate_agents(self._env, modules, self._mapping, bridge, explore=explore, seed=seed)
        returns = {key: list(values) for key, values in played.module_returns.items()}
        return Played(list(played.recent), returns)

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


def make_world(env: SideBySide, mapping: PolicyMapping) -> World:
    """Return the environments as a world."""
    return MultiAgentWorld(env, mapping) if isinstance(env, MultiAgentVectorEnv) else SingleAgentWorld(env)
