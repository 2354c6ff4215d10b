"""Policies that are played into the record: whole episodes, as the environment saw them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlmodule_algos.envs import EnvError, SyncMultiAgentVectorEnv
from rlmodule_algos.offline import (
    EpisodeRecorder,
    OfflineDataError,
    OfflineEpisode,
    check_episodes,
    record_agent_episodes,
    record_episodes,
)
from rlmodule_algos.testing import ScriptedMultiAgentEnv
from rlmodule_core.nest import Nest

Array = npt.NDArray[Any]


class Counting(gym.Env[Any, Any]):
    """Shows [episode, step]; episode e of environment i lasts `lengths[e]` steps; even ones terminate."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._lengths: list[int] = config["lengths"]
        self._episode, self._step = -1, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self._episode, self._step = self._episode + 1, 0
        return self._seen(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self._step += 1
        last = self._step == self._lengths[self._episode % len(self._lengths)]
        even = self._episode % 2 == 0
        return self._seen(), 10.0 * self._episode + self._step, last and even, last and not even, {}

    def _seen(self) -> Array:
        return np.array([self._episode, self._step], np.float64)


def expected(episode: int, steps: int) -> OfflineEpisode:
    step = np.arange(steps + 1)
    return OfflineEpisode(
        obs=np.stack([np.full(steps + 1, episode), step], axis=1).astype(np.float32),
        actions=np.minimum(step[:-1, None] * 0.4, 1.0).astype(np.float32),
        rewards=(10 * episode + step[1:]).astype(np.float32),
        terminated=episode % 2 == 0,
        truncated=episode % 2 == 1,
    )


def by_step(obs: Nest) -> Nest:
    """Act with 0.4 times the step: beyond the bounds from step 3 on."""
    return np.asarray(obs)[:, 1:] * 0.4


LENGTHS = [4, 1, 2]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_record_is_what_happened_in_every_autoreset_mode(mode: AutoresetMode) -> None:
    def make(config: Mapping[str, Any]) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: Counting(config)] * 2, autoreset_mode=mode)

    recorded = record_episodes(by_step, make, 5, env_config={"lengths": LENGTHS})

    each = [expected(0, 4), expected(1, 1), expected(2, 2)]
    assert recorded == [each[0], each[0], each[1], each[1], each[2]]


def test_a_class_is_played_one_environment_at_a_time_unless_told_otherwise() -> None:
    recorded = record_episodes(by_step, Counting, 3, env_config={"lengths": LENGTHS})

    assert recorded == [expected(0, 4), expected(1, 1), expected(2, 2)]
    check_episodes(recorded, Counting({"lengths": []}).observation_space, spaces.Box(-1.0, 1.0, (1,)))


def test_every_environment_plays_as_many_episodes_so_that_long_ones_are_not_left_out() -> None:
    def make(config: Mapping[str, Any]) -> SyncVectorEnv:
        long, short = {"lengths": [30]}, {"lengths": [1]}
        return SyncVectorEnv(
            [lambda: Counting(long), lambda: Counting(short)], autoreset_mode=AutoresetMode.DISABLED
        )

    assert [episode.num_steps for episode in record_episodes(by_step, make, 4)] == [30, 1, 30, 1]


def test_the_seed_decides_the_episodes_of_an_id() -> None:
    def policy(obs: Nest) -> Nest:
        return (np.asarray(obs)[:, 2] > 0).astype(np.int64)

    first, again, other = (record_episodes(policy, "CartPole-v1", 3, seed=seed) for seed in (1, 1, 2))

    assert first == again != other
    assert first[0].obs.dtype == np.float32
    check_episodes(first, gym.make("CartPole-v1").observation_space, spaces.Discrete(2))


class Computed(NamedTuple):
    actions: Array
    state_outs: Nest
    extra: dict[str, Array]


class Remembering:
    """Acts with the number of steps that its state has counted since it was given none."""

    def __init__(self) -> None:
        self.explored: set[bool] = set()

    def compute_actions(self, obs_batch: Nest, state_batches: Nest = None, explore: bool = True) -> Computed:
        self.explored.add(explore)
        rows = len(obs_batch)
        count = np.zeros(rows) if state_batches is None else state_batches["count"]
        return Computed(np.minimum(count[:, None] * 0.4, 1.0), {"count": count + 1}, {})


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_state_is_carried_through_an_episode_and_never_into_the_next(mode: AutoresetMode) -> None:
    def make(config: Mapping[str, Any]) -> SyncVectorEnv:
        one, two = {"lengths": [4, 1, 2]}, {"lengths": [2, 1, 4]}
        return SyncVectorEnv([lambda: Counting(one), lambda: Counting(two)], autoreset_mode=mode)

    policy = Remembering()
    recorded = record_episodes(policy, make, 6, explore=False)

    assert recorded[::2] == [expected(0, 4), expected(1, 1), expected(2, 2)]
    assert recorded[1::2] == [expected(0, 2), expected(1, 1), expected(2, 4)]
    assert policy.explored == {False}


def test_environments_are_closed_also_where_the_policy_fails() -> None:
    closed = []

    class Closing(Counting):
        def close(self) -> None:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        record_episodes(lambda _obs: 1 // 0, Closing, 1, env_config={"lengths": [1]})
    assert closed == [True]
    with pytest.raises(ValueError, match="num_episodes must be at least 1, got 0"):
        record_episodes(by_step, Closing, 0)


def test_a_loop_of_ones_own_is_recorded_step_by_step() -> None:
    recorder = EpisodeRecorder()
    obs = {"x": np.zeros(2), "n": 0}
    recorder.reset(obs)
    for step in range(3):
        obs["x"] += 1  # type: ignore[operator]
        recorder.step(np.float32(step), 1.0, False, step == 2, {**obs, "n": step + 1})

    (episode,) = recorder.episodes
    assert episode.obs["x"].tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert episode.obs["n"].tolist() == [0, 1, 2, 3]
    assert (episode.terminated, episode.truncated, episode.actions.dtype) == (False, True, np.float32)
    with pytest.raises(ValueError, match="step before reset"):
        recorder.step(0, 0.0, False, False, obs)
    recorder.reset(obs)
    recorder.step(0, 0.0, False, False, obs)
    recorder.cut()
    assert [(known.num_steps, known.truncated) for known in recorder.episodes] == [(3, True), (1, True)]


def test_numbers_that_are_not_finite_are_refused_when_the_episode_ends() -> None:
    recorder = EpisodeRecorder()
    recorder.reset(np.zeros(1))
    with pytest.raises(OfflineDataError, match="obs: nan at step 1"):
        recorder.step(0, 0.0, True, False, np.array([np.nan]))


@pytest.mark.filterwarnings("error")  # NumPy's own words about the cast would come first
def test_a_reward_that_float32_cannot_hold_is_refused_when_the_episode_ends() -> None:
    recorder = EpisodeRecorder()
    recorder.reset(np.zeros(1))
    with pytest.raises(OfflineDataError, match="rewards: inf at step 0"):
        recorder.step(0, 1e39, True, False, np.zeros(1))


# --- many agents --------------------------------------------------------------------------------

NO_FLAGS = {"__all__": False}


def turns(obs: float, *, left: dict[str, Any] | None = None) -> list[Any]:
    """`a` and `b` take turns for three steps, both are paid in each; then `left` is told."""

    def seen(number: float) -> Array:
        return np.array([number], np.float32)

    over = left or {"__all__": True}
    return [
        ({"a": seen(obs)}, {}),
        ({"b": seen(obs + 1)}, {"a": 1.0, "b": 10.0}, NO_FLAGS, NO_FLAGS, {}),
        ({"a": seen(obs + 2)}, {"a": 2.0, "b": 20.0}, NO_FLAGS, NO_FLAGS, {}),
        ({}, {"a": 4.0, "b": 40.0}, over, NO_FLAGS, {}),
    ]


def scripted(answers: list[Any]) -> ScriptedMultiAgentEnv:
    space = spaces.Box(-np.inf, np.inf, (1,))
    return ScriptedMultiAgentEnv(
        {"a": space, "b": space}, {"a": spaces.Discrete(100), "b": spaces.Box(-5.0, 5.0, (1,))}, answers
    )


def agents(env: SyncMultiAgentVectorEnv, count: int) -> list[dict[str, OfflineEpisode]]:
    def number(obs: Nest) -> Nest:
        return np.asarray(obs)[:, 0].astype(np.int64)

    def negated(obs: Nest) -> Nest:
        return -np.asarray(obs)

    return record_agent_episodes({"a": number, "b": negated}, env, count)


def test_an_agents_step_is_an_action_with_all_it_is_paid_until_it_acts_again() -> None:
    env = SyncMultiAgentVectorEnv([scripted(turns(0.0)), scripted(turns(50.0))])

    recorded = agents(env, 3)

    a: dict[str, Any] = {"obs": [[0.0], [2.0], [2.0]], "actions": [0, 2], "rewards": [1.0 + 2.0, 4.0]}
    b: dict[str, Any] = {
        "obs": [[1.0], [1.0]],
        "actions": [[-1.0]],
        "rewards": [20.0 + 40.0],
    }  # 10 came before it acted
    for index, shift in enumerate([0, 50, 0]):
        for agent, told in (("a", a), ("b", b)):
            episode = recorded[index][agent]
            assert episode.obs.tolist() == [[number + shift for number in row] for row in told["obs"]]
            assert episode.rewards.tolist() == told["rewards"]
            assert (episode.terminated, episode.truncated) == (True, False)
        assert recorded[index]["a"].actions.tolist() == [shift, 2 + shift]
    assert recorded[0]["b"].actions.tolist() == [[-1.0]]
    assert recorded[1]["b"].actions.tolist() == [[-5.0]]  # clipped, as the environment got it


def test_who_never_acted_is_in_no_episode_and_who_comes_back_cannot_be_recorded() -> None:
    one = [turns(0.0)[0], ({}, {"a": 1.0}, {"__all__": True}, NO_FLAGS, {})]
    assert [sorted(episode) for episode in agents(SyncMultiAgentVectorEnv([scripted(one)]), 2)] == [
        ["a"],
        ["a"],
    ]

    first, second, third, _last = turns(0.0)
    back = [first, (second[0], {}, {"a": True, "__all__": False}, NO_FLAGS, {}), third]
    with pytest.raises(EnvError, match="agent 'a'"):
        agents(SyncMultiAgentVectorEnv([scripted(back)]), 1)


def test_an_agent_without_a_policy_is_named() -> None:
    env = SyncMultiAgentVectorEnv([scripted(turns(0.0))])

    with pytest.raises(
        ValueError, match=r"policies: expected one for each of \['a', 'b'\], none for \['b'\]"
    ):
        record_agent_episodes({"a": by_step}, env, 1)
    with pytest.raises(ValueError, match="num_episodes must be at least 1"):
        record_agent_episodes({}, env, 0)
