"""Agents from one episode to the next: whose module is asked when, what a failure leaves, mixed spaces."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import EnvError, PPOConfig
from rlmodule_algos.batching import evaluate_fragment
from rlmodule_algos.envs import EnvStream, MultiAgentEnv, SyncMultiAgentVectorEnv, make_vector_env
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.sampling import EnvRunner, MultiAgentEnvRunner, evaluate_agents
from rlmodule_core import NumpyCategorical, NumpyRLModule

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
BRIDGE = Framework("torch").bridge
OBS, ACT = spaces.Box(-np.inf, np.inf, (1,)), spaces.Discrete(2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with BRIDGE.threads(1):
        yield


class Counting(NumpyRLModule):
    """Its state counts the steps."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        count = batch["state_in"]["count"]
        logits = np.concatenate([count, 0.0 * count], axis=-1)[:, None]
        return {"action_dist": NumpyCategorical(logits), "state_out": {"count": count + 1.0}}

    _forward_inference = _forward_train = _forward_exploration

    def get_initial_state(self) -> dict[str, Any]:
        return {"count": np.zeros(1, np.float32)}

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no weights."""


class Pair(MultiAgentEnv):
    """`left` acts in even steps, `right` in odd ones; `fails` at a step of the first episode."""

    def __init__(self, length: int, fails: Mapping[int, float | Exception] | None = None) -> None:
        self.possible_agents = ["left", "right"]
        self.observation_spaces = dict.fromkeys(self.possible_agents, OBS)
        self.action_spaces = dict.fromkeys(self.possible_agents, ACT)
        self.length, self.fails = length, dict(fails or {})
        self.num_resets = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t, self.num_resets = 0, self.num_resets + 1
        return {"left": np.zeros(1, np.float32)}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.t += 1
        shown = self.fails.pop(self.t, float(self.t))
        if isinstance(shown, Exception):
            raise shown
        obs = {"right" if self.t % 2 else "left": np.full(1, shown, np.float32)}
        return obs, {"left": 1.0}, {"__all__": self.t == self.length}, {"__all__": False}, {}


def runner_of(envs: list[MultiAgentEnv], mapping: Any = lambda agent: "all") -> MultiAgentEnvRunner:
    modules = {"all": Counting(), "even": Counting(), "odd": Counting()}
    return MultiAgentEnvRunner(
        SyncMultiAgentVectorEnv(envs), modules, mapping, BRIDGE, learns=lambda: list(modules), seed=0
    )


# --- whose module -------------------------------------------------------------------------------


def test_the_mapping_is_asked_once_for_each_agent_in_each_episode_when_it_first_acts() -> None:
    asked: Counter[str] = Counter()

    def mapping(agent: str) -> str:
        asked[agent] += 1
        return "all"

    envs = [Pair(6), Pair(4), Pair(1)]  # in the last, right has no turn
    runner = runner_of([*envs], mapping)
    for steps in (1, 5, 6):
        runner.collect(steps)
    begun = [env.num_resets - 1 for env in envs]  # the last one has not been acted in
    assert begun == [2, 3, 12]
    assert asked == {"left": 2 + 3 + 12, "right": 2 + 3}


def test_a_mapping_that_changes_takes_effect_with_the_next_episode_of_each_environment() -> None:
    module_of = {"now": "even"}
    runner = runner_of([Pair(6), Pair(4)], lambda agent: module_of["now"])
    runner.collect(3)
    module_of["now"] = "odd"
    fragments = runner.collect(5)  # 3 and 1 steps of the old episodes, 2 and 4 of new ones
    # of the old ones 2 steps each were complete before; of the new ones one is still open
    assert {key: fragment.num_steps for key, fragment in fragments.items()} == {"even": 6, "odd": 5}
    assert runner.episodes.num_agent_steps == {"even": 10, "odd": 2 + 4}
    assert set(runner.episodes.module_returns) == {"even", "odd"}


def test_an_observation_that_is_not_finite_is_an_env_error_in_evaluation_before_it_is_acted_on() -> None:
    env = SyncMultiAgentVectorEnv([Pair(8), Pair(8, {3: math.nan})])
    said = "environment 1, agent 'right': obs is not finite at step 3 of an episode, in evaluation"
    with pytest.raises(EnvError, match=said):
        evaluate_agents(env, {"all": Counting()}, lambda agent: "all", BRIDGE, explore=False, seed=0)


# --- what a failure leaves ----------------------------------------------------------------------


@pytest.mark.parametrize("failure", [RuntimeError("lost"), math.nan])
def test_after_an_environment_failed_nothing_of_the_dropped_episodes_is_left(failure: Any) -> None:
    envs = [Pair(8, {6: failure}), Pair(8)]
    runner = runner_of([*envs])
    runner.collect(3)
    before = runner.episodes.get_state()
    with pytest.raises(EnvError):
        runner.collect(7)

    assert runner.episodes.get_state() == before  # what was dropped is not counted
    fragment = runner.collect(8)["all"]
    assert fragment.lengths.tolist() == [4] * 4  # no step that was open before
    assert fragment.sequences is not None
    first = fragment.sequences.index[:, 0] == 0
    assert fragment.sequences.state["count"][first].ravel().tolist() == [0.0] * 4
    assert [episode.length for episode in runner.episodes.recent] == [8, 8]
    assert fragment.rewards.sum(axis=0).tolist() == [8.0, 8.0, 0.0, 0.0]
    assert runner.episodes.num_steps == 2 * 3 + 2 * 8


class Failing(gym.Env[Any, Any]):
    """Raises in one step of its life."""

    def __init__(self, fails_in: int) -> None:
        self.observation_space, self.action_space = OBS, ACT
        self.fails_in = fails_in

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t, self.fails_in = self.t + 1, self.fails_in - 1
        if self.fails_in == 0:
            raise RuntimeError("lost")
        return np.full(1, self.t, np.float32), 1.0, self.t == 8, False, {}


def test_a_memory_starts_afresh_after_an_environment_failed() -> None:
    fails_in = iter([99, 5])
    env = make_vector_env(lambda settings: Failing(next(fails_in)), {}, 2)
    runner = EnvRunner(EnvStream(env), Counting(), BRIDGE, seed=0)
    runner.sample(3)
    with pytest.raises(EnvError, match="lost"):
        runner.sample(4)
    fragment = runner.sample(6)
    assert fragment.sequences is not None
    assert fragment.sequences.state["count"].ravel().tolist() == [0.0, 0.0]
    assert fragment.obs[:, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert runner.episodes.num_steps == 2 * 3 + 2 * 6


def test_a_fragment_of_resets_alone_is_left_out() -> None:
    env = gym.make_vec(
        "CartPole-v1", 2, vectorization_mode="sync", max_episode_steps=2
    )  # NEXT_STEP: the third step of each row resets it
    runner = EnvRunner(EnvStream(env), Counting(), BRIDGE, seed=0)
    assert [len(runner.collect(1)) for _ in range(7)] == [1, 1, 0, 1, 1, 0, 1]
    assert (runner.episodes.num_steps, runner.episodes.num_episodes) == (2 * 5, 2 * 2)


# --- spaces of all kinds ------------------------------------------------------------------------


class Mixed(MultiAgentEnv):
    """A Dict, an image and a class; actions of three kinds; the third comes late."""

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        self.possible_agents = ["arm", "eye", "ear"]
        arm = spaces.Dict({"joint": spaces.Box(-1.0, 1.0, (2,)), "on": spaces.Discrete(3, start=5)})
        self.observation_spaces = {
            "arm": arm,
            "eye": spaces.Box(0, 255, (10, 10, 1), np.uint8),
            "ear": spaces.Discrete(4, start=2),
        }
        self.action_spaces = {
            "arm": spaces.Box(-0.5, 0.5, (2,)),
            "eye": spaces.Discrete(3, start=7),
            "ear": spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        for space in self.observation_spaces.values():
            space.seed(seed)
        self.t = 0
        return self.look(), {}

    def look(self) -> dict[str, Any]:
        there = self.possible_agents[: 3 if self.t > 1 else 2]
        return {agent: self.observation_spaces[agent].sample() for agent in there}

    def step(self, actions: Mapping[str, Any]) -> Any:
        for agent, action in actions.items():
            if not self.action_spaces[agent].contains(action):
                raise ValueError(f"{agent}: {action!r} is none of {self.action_spaces[agent]}")
        self.t += 1
        return self.look(), dict.fromkeys(actions, 1.0), {"__all__": self.t == 5}, {"__all__": False}, {}


@pytest.mark.parametrize(
    ("framework", "memory"),
    [("torch", {}), *((name, {"use_lstm": True, "lstm_cell_size": 4}) for name in FRAMEWORKS)],
)
def test_agents_of_different_spaces_learn_with_a_module_each(framework: str, memory: dict[str, Any]) -> None:
    config = (
        PPOConfig()
        .environment(Mixed)
        .framework(framework)
        .env_runners(num_envs_per_env_runner=3)
        .multi_agent(policy_mapping_fn=str)
        .training(
            model={"fcnet_hiddens": [4], **memory},
            train_batch_size=24,
            minibatch_size=12,
            num_epochs=1,
        )
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        bridge = algorithm.framework.bridge
        fragments = algorithm.pool.sample(3 * 7)
        assert fragments.keys() == {"arm", "eye", "ear"}
        for key, (fragment,) in fragments.items():
            said = evaluate_fragment(fragment, algorithm.get_module(key), bridge)
            assert np.abs(said.logp - fragment.action_logp)[fragment.mask].max() < 1e-4
        learned = algorithm.train()["learners"]
        assert {key: math.isfinite(values["total_loss"]) for key, values in learned.items()} == dict.fromkeys(
            fragments, True
        )
        played = algorithm.evaluate(2)["evaluation"]
        assert played["episode_returns"] == [5.0 + 5.0 + 3.0] * 2
        assert played["module_episode_return_mean"] == {"arm": 5.0, "eye": 5.0, "ear": 3.0}
