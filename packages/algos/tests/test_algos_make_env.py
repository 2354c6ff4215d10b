"""From a class or a callable to environments of several agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv, VectorEnv

from rlmodule_algos import EnvError, MultiAgentCartPole
from rlmodule_algos.envs import (
    MultiAgentVectorEnv,
    ParallelEnvAdapter,
    SyncMultiAgentVectorEnv,
    make_env,
    make_vector_env,
)
from rlmodule_algos.testing import CrossedAgents, multi_agent_episodes


class Parallel:
    """The form of PettingZoo's parallel API: each agent leaves after so many steps as its number says."""

    made: list[Parallel]

    def __init__(self, settings: Mapping[str, Any], ends: str = "terminated") -> None:
        self.possible_agents = ["p1", "p2", "p3"]
        self.agents: list[str] = []
        self.settings, self.ends, self.closed = settings, ends, 0
        self.given: list[Mapping[str, Any]] = []
        self.reset_with: list[Any] = []
        type(self).made.append(self)

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return spaces.Box(0, 9, (int(agent[1]),))

    def action_space(self, agent: str) -> gym.Space[Any]:
        return spaces.Discrete(1 + int(agent[1]))

    def look(self, agents: list[str]) -> dict[str, Any]:
        return {agent: np.full(int(agent[1]), self.t, np.float32) for agent in agents}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.reset_with.append((seed, options))
        self.t, self.agents = 0, list(self.possible_agents)
        return self.look(self.agents), {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.given.append(actions)
        self.t += 1
        acted, leaving = list(self.agents), [agent for agent in self.agents if int(agent[1]) == self.t]
        self.agents = [agent for agent in acted if agent not in leaving]
        flags = {
            kind: {agent: kind == self.ends and agent in leaving for agent in acted}
            for kind in ("terminated", "truncated")
        }
        return self.look(acted), dict.fromkeys(acted, 0.5), *flags.values(), {}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def parallel() -> type[Parallel]:
    Parallel.made = []
    return Parallel


def zeros(env: MultiAgentVectorEnv) -> dict[str, Any]:
    return dict.fromkeys(env.possible_agents, lambda obs, starts: np.zeros(len(obs), np.int64))


# --- several agents ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MultiAgentCartPole, CrossedAgents])
def test_a_class_with_a_vectorised_form_is_made_in_it(kind: Any) -> None:
    env = make_env(kind, {}, 3)
    assert isinstance(env, MultiAgentVectorEnv)
    assert not isinstance(env, SyncMultiAgentVectorEnv)
    assert env.num_envs == 3


@pytest.mark.parametrize(
    "source", [lambda settings: MultiAgentCartPole(settings), type("Mine", (MultiAgentCartPole,), {})]
)
def test_multi_agent_environments_without_vectorised_form_are_copies(source: Any) -> None:
    env = make_env(source, {"num_agents": 3}, 2)
    assert isinstance(env, SyncMultiAgentVectorEnv)
    assert (env.num_envs, env.possible_agents) == (2, ("agent_0", "agent_1", "agent_2"))


def test_a_vector_form_that_a_callable_returns_is_taken_as_it_is() -> None:
    made = CrossedAgents.make_vector({}, 7)
    assert make_env(lambda settings: made, {}, 3) is made


def test_what_the_vectorised_form_raises_names_the_environment() -> None:
    with pytest.raises(EnvError, match="unknown option 'agents'"):
        make_env(MultiAgentCartPole, {"agents": 3}, 2)

    class Broken(MultiAgentCartPole):
        @classmethod
        def make_vector(cls, env_config: Mapping[str, Any], num_envs: int) -> MultiAgentVectorEnv | None:
            raise KeyError("size")

    with pytest.raises(EnvError, match=r"Broken: it could not be made; .*KeyError: 'size'"):
        make_env(Broken, {}, 2)


@pytest.mark.parametrize("source", [MultiAgentCartPole, lambda settings: CrossedAgents(settings), Parallel])
def test_where_one_agent_is_expected_several_are_refused_by_name(
    source: Any, parallel: type[Parallel]
) -> None:
    with pytest.raises(EnvError, match=r"expected an environment of one agent, got one of \['\w+', '\w+"):
        make_vector_env(source, {}, 2)
    assert [env.closed for env in parallel.made] == [1] * len(parallel.made)


def test_environments_of_one_agent_come_as_before() -> None:
    assert isinstance(make_env("CartPole-v1", {}, 2), VectorEnv)
    assert isinstance(make_env(lambda settings: gym.make("CartPole-v1"), {}, 2), SyncVectorEnv)


def test_copies_of_one_agent_and_of_several_do_not_mix(parallel: type[Parallel]) -> None:
    def make(settings: Any) -> Any:
        return gym.make("CartPole-v1") if parallel.made else parallel(settings)

    with pytest.raises(EnvError, match="make: some of its copies have one agent and some several"):
        make_env(make, {}, 2)
    assert [env.closed for env in parallel.made] == [1]


def test_copies_of_several_agents_must_be_different_objects(parallel: type[Parallel]) -> None:
    one = parallel({})
    with pytest.raises(EnvError, match="same object twice"):
        make_env(lambda settings: one, {}, 3)


def test_copies_whose_agents_differ_are_refused_and_closed(parallel: type[Parallel]) -> None:
    def make(settings: Any) -> Any:
        made = parallel(settings)
        made.possible_agents = made.possible_agents[: 4 - len(parallel.made)]
        return made

    with pytest.raises(EnvError, match=r"environment 1 .*not those of environment 0"):
        make_env(make, {}, 2)
    assert [env.closed for env in parallel.made] == [1, 1]


# --- PettingZoo -------------------------------------------------------------------------------


def test_a_parallel_environment_is_known_by_its_form(parallel: type[Parallel]) -> None:
    env = make_env(parallel, {"size": [3]}, 2)
    assert isinstance(env, SyncMultiAgentVectorEnv)
    assert [one.settings for one in parallel.made] == [{"size": [3]}] * 2
    assert env.possible_agents == ("p1", "p2", "p3")
    assert env.observation_spaces["p2"] == spaces.Box(0, 9, (2,))
    assert env.action_spaces["p3"] == spaces.Discrete(4)
    env.reset(seed=5)
    assert [one.reset_with for one in parallel.made] == [[(5, None)], [(6, None)]]
    env.close()
    assert [one.closed for one in parallel.made] == [1, 1]


@pytest.mark.parametrize("ends", ["terminated", "truncated", "without a flag"])
def test_agents_of_a_parallel_environment_leave_by_flag_or_by_absence(
    ends: str, parallel: type[Parallel]
) -> None:
    env = make_env(lambda settings: parallel(settings, ends), {}, 2)
    assert isinstance(env, MultiAgentVectorEnv)
    for episode in multi_agent_episodes(env, zeros(env), 4, seed=0):
        for agent, one in episode.items():
            length = int(agent[1])
            ended = [False] * (length - 1) + [True]
            assert one["truncated" if ends == "truncated" else "terminated"].tolist() == ended
            assert not one["terminated" if ends == "truncated" else "truncated"].any()
            assert one["rewards"].tolist() == [0.5] * length
            assert one["obs"][:, 0].tolist() == list(range(length + 1))
    acted = [sorted(actions) for actions in parallel.made[0].given]
    assert acted == [["p1", "p2", "p3"], ["p2", "p3"], ["p3"]] * 2


def test_the_adapter_passes_options_and_says_when_all_are_gone(parallel: type[Parallel]) -> None:
    env = ParallelEnvAdapter(parallel({}))
    env.reset(seed=3, options={"map": 2})
    assert parallel.made[0].reset_with == [(3, {"map": 2})]
    told = [env.step({})[2:4] for _ in range(3)]
    assert [(terminated["__all__"], truncated["__all__"]) for terminated, truncated in told] == [
        (False, False),
        (False, False),
        (True, False),
    ]


def test_a_class_in_place_of_an_environment_is_refused(parallel: type[Parallel]) -> None:
    class Unmade(parallel):  # type: ignore[misc, valid-type]
        possible_agents = ("p1", "p2")

    with pytest.raises(EnvError, match=r"expected a .*parallel environment, got type"):
        make_env(lambda settings: Unmade, {}, 1)


def test_the_other_api_of_pettingzoo_is_refused_with_the_way_to_convert_it(
    parallel: type[Parallel],
) -> None:
    class Turns(parallel):  # type: ignore[misc, valid-type]
        def agent_iter(self) -> None: ...
        def last(self) -> None: ...
        def observe(self) -> None: ...

    with pytest.raises(EnvError, match=r"got Turns; convert .*aec_to_parallel"):
        make_env(Turns, {}, 2)


def test_a_real_pettingzoo_environment_plays_whole_episodes() -> None:
    pytest.importorskip("mpe2")
    from mpe2 import simple_speaker_listener_v4

    def make(settings: Mapping[str, Any]) -> Any:
        return simple_speaker_listener_v4.parallel_env(**settings)

    env = make_env(make, {"max_cycles": 25}, 3)
    assert isinstance(env, SyncMultiAgentVectorEnv)
    assert env.possible_agents == ("speaker_0", "listener_0")
    rng = np.random.default_rng(0)
    policies = {
        "speaker_0": lambda obs, starts: rng.integers(3, size=len(obs)),
        "listener_0": lambda obs, starts: rng.integers(5, size=len(obs)),
    }
    for episode in multi_agent_episodes(env, policies, 6, seed=0):
        assert {agent: one["obs"].shape for agent, one in episode.items()} == {
            "speaker_0": (26, 3),
            "listener_0": (26, 11),
        }
        for one in episode.values():
            assert one["truncated"].tolist() == [False] * 24 + [True]
            assert not one["terminated"].any()
            assert (one["rewards"] != 0).all()
    env.close()


def test_the_adapter_tells_what_pettingzoo_itself_tells() -> None:
    pytest.importorskip("mpe2")
    from mpe2 import simple_spread_v3

    plain, ours = (simple_spread_v3.parallel_env(max_cycles=10) for _ in range(2))
    env = SyncMultiAgentVectorEnv([ParallelEnvAdapter(ours)])
    expected, _ = plain.reset(seed=3)
    step = env.reset(seed=3)
    rng = np.random.default_rng(0)
    while True:
        for agent, one in expected.items():
            np.testing.assert_array_equal(env.groups.by_agent(step.obs)[agent][0], one)
        if not plain.agents:
            break
        actions = {agent: rng.integers(5, size=1) for agent in plain.agents}
        expected, rewards, _terminated, truncated, _ = plain.step(
            {agent: int(action[0]) for agent, action in actions.items()}
        )
        acting = np.array([[agent in actions] for agent in env.possible_agents])
        step = env.step(env.groups.columns(actions), acting)
        for number, agent in enumerate(env.possible_agents):
            assert step.rewards[number, 0] == np.float32(rewards[agent])
            assert step.truncated[number, 0] == truncated[agent]
    assert step.over.all()
