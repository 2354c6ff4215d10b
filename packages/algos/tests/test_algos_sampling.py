"""Episodes are counted as a plain loop counts them, and bad numbers never reach a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlmodule_algos import EnvError
from rlmodule_algos.envs import EnvStream, make_vector_env
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.sampling import EnvRunner, Episode, evaluate_episodes
from rlmodule_core import NumpyCategorical, NumpyRLModule
from rlmodule_core.nest import leaves, map_nest

MODES = list(AutoresetMode)
BRIDGE = Framework("torch").bridge
SEED = 5


class Leaning(NumpyRLModule):
    """Acts as a function of the last number of the observation: by its sign."""

    def _forward_train(self, batch: Any, **kwargs: Any) -> Any:
        action = lean(leaves(batch["obs"])[0][:, -1])
        return {"action_dist": NumpyCategorical(1000.0 * np.eye(2, dtype=np.float32)[action])}

    _forward_exploration = _forward_inference = _forward_train

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no state."""


def lean(number: Any) -> Any:
    return (np.asarray(number) > 0).astype(int)


class Clock(gym.Env[Any, Any]):
    """Its observation is the step; episode e of seed s pays `pay(s, e, step)` and lasts `length(s, e)`.

    It writes every observation into the same array.
    """

    def __init__(
        self,
        length: Callable[[int, int], int] = lambda seed, episode: 4,
        pay: Callable[[int, int, int], float] = lambda seed, episode, step: 1.0,
        show: Callable[[int, int, int], float] = lambda seed, episode, step: float(step),
        truncates: bool = False,
    ) -> None:
        self.observation_space = spaces.Dict({"hand": spaces.Box(-np.inf, np.inf, (2,))})
        self.action_space = spaces.Discrete(2)
        self.length, self.pay, self.show, self.truncates = length, pay, show, truncates
        self.hand = np.zeros(2, np.float32)
        self.at = (0, 0, 0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        own, episode, _step = self.at
        self.at = (own, episode + 1, 0) if seed is None else (seed, 0, 0)
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seed, episode, step = self.at
        self.at = (seed, episode, step + 1)
        ends = step + 1 >= self.length(seed, episode)
        flags = (False, ends) if self.truncates else (ends, False)
        return self.observe(), self.pay(seed, episode, step), *flags, {}

    def observe(self) -> Any:
        self.hand[:] = self.show(*self.at)
        return {"hand": self.hand}


def runner_of(make: Callable[[Any], Any], num_envs: int, seed: int = SEED) -> EnvRunner:
    stream = EnvStream(make_vector_env(make, {}, num_envs))
    return EnvRunner(stream, Leaning(), BRIDGE, seed=seed)


# --- statistics -------------------------------------------------------------------------------


def cartpole_by_plain_loop(num_envs: int, num_steps: int) -> tuple[list[Episode], int]:
    """Return finished episodes in the order in which they end, and the steps of open ones."""
    finished, open_steps = [], 0
    for row in range(num_envs):
        env = gym.make("CartPole-v1")
        obs, _info = env.reset(seed=SEED + row)
        total, length = 0.0, 0
        for t in range(num_steps):
            obs, reward, terminated, truncated, _info = env.step(int(lean(obs[-1])))
            total, length = total + float(reward), length + 1
            if terminated or truncated:
                finished.append((t, row, Episode(total, length)))
                obs, _info = env.reset()
                total, length = 0.0, 0
        open_steps += length
        env.close()
    return [episode for _t, _row, episode in sorted(finished)], open_steps


@pytest.mark.parametrize("steps_a_fragment", [1, 8, 50, 800])
def test_episodes_are_those_of_a_plain_loop_however_they_are_cut(steps_a_fragment: int) -> None:
    expected, open_steps = cartpole_by_plain_loop(num_envs=3, num_steps=800)
    assert len(expected) > 8
    assert max(episode.length for episode in expected) > 3 * 8  # some span many fragments
    assert open_steps > 0

    runner = runner_of(lambda settings: gym.make("CartPole-v1"), 3)
    for _ in range(800 // steps_a_fragment):
        runner.sample(steps_a_fragment)

    assert list(runner.episodes.recent) == expected[-100:]
    assert runner.episodes.num_episodes == len(expected)
    assert runner.episodes.num_steps == sum(episode.length for episode in expected) + open_steps == 3 * 800
    assert runner.env_seconds > 0.0


def test_rewards_of_many_sizes_add_up_to_the_return() -> None:
    pay = lambda seed, episode, step: 10.0 ** (step - 2) * (-1) ** step  # noqa: E731
    runner = runner_of(lambda settings: Clock(lambda seed, episode: 1 + episode % 5, pay), 2)
    for _ in range(10):
        runner.sample(7)
    for episode in runner.episodes.recent:
        total = sum(10.0 ** (step - 2) * (-1) ** step for step in range(episode.length))
        assert math.isclose(episode.episode_return, total, rel_tol=1e-6)


def test_counters_and_finished_episodes_survive_in_the_state_but_open_episodes_do_not() -> None:
    runner = runner_of(lambda settings: Clock(), 2)
    runner.sample(6)  # one and a half episodes
    other = runner_of(lambda settings: Clock(), 2, seed=99)
    other.set_state(runner.get_state())
    assert other.episodes.get_state() == runner.episodes.get_state()
    other.sample(4)
    assert [episode.length for episode in other.episodes.recent] == [4] * 4
    assert other.episodes.num_steps == 12 + 8


def test_a_fragment_has_at_least_one_step() -> None:
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        runner_of(lambda settings: Clock(), 1).sample(0)


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_stored_observations_are_copies_of_arrays_that_the_environment_writes_again(
    mode: AutoresetMode,
) -> None:
    env = SyncVectorEnv([Clock] * 2, copy=False, autoreset_mode=mode)
    assert np.shares_memory(env.reset()[0]["hand"], env.reset()[0]["hand"])  # it hands out one array, too
    runner = EnvRunner(EnvStream(env), Leaning(), BRIDGE, seed=SEED)
    first = runner.sample(6)
    before = map_nest(np.copy, first.obs)
    second = runner.sample(6)
    np.testing.assert_array_equal(first.obs["hand"], before["hand"])
    for fragment in (first, second):
        for row, length in enumerate(fragment.lengths):
            shown = fragment.obs["hand"][:length, row, 0]
            start = int(shown[0])
            assert shown.tolist() == [(start + t) % 4 for t in range(length)]
    assert first.final_obs["hand"].tolist() == [[4.0, 4.0]] * 2


# --- bad numbers ------------------------------------------------------------------------------


def at(row: int, step: int, bad: float, good: float) -> Callable[[int, int, int], float]:
    """`bad` at one step of the first episode of one environment, else `good`."""
    return lambda seed, episode, now: bad if (seed - SEED, episode, now) == (row, 0, step) else good


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("a reward", {"pay": at(1, 2, math.nan, 1.0)}, "environment 1: reward is not finite at step 2 "),
    ("the last reward", {"pay": at(2, 5, math.inf, 1.0)}, "environment 2: reward is not finite at step 5 "),
    (
        "an observation",
        {"show": at(0, 3, -math.inf, 0.0)},
        r"environment 0: obs.hand is not finite at step 3 ",
    ),
    (
        "what is acted on next",
        {"show": at(1, 6, math.nan, 0.0)},
        r"environment 1: obs.hand is not finite at step 6 ",
    ),
    (
        "what followed a truncation",
        {"show": at(2, 4, math.nan, 0.0), "length": lambda seed, episode: 4, "truncates": True},
        r"environment 2: final obs.hand is not finite at step 3 ",
    ),
]


@pytest.mark.parametrize(("settings", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_number_that_is_not_finite_is_an_env_error_with_its_place(
    settings: dict[str, Any], said: str
) -> None:
    settings = {"length": lambda seed, episode: 9, **settings}
    runner = runner_of(lambda given: Clock(**settings), 3)
    with pytest.raises(EnvError, match=said + "of the fragment .*dropped"):
        runner.sample(6)
    assert runner.episodes.num_steps == runner.episodes.num_episodes == 0

    after = runner.sample(9)  # the environments were started anew, the open episodes dropped
    assert after.obs["hand"].shape == (10, 3, 2)
    assert {episode.length for episode in runner.episodes.recent} == {settings["length"](0, 0)}


def test_a_step_that_raises_ends_the_open_episodes_and_the_next_sample_starts_new_ones() -> None:
    def pay(seed: int, episode: int, step: int) -> float:
        if (seed, episode, step) == (SEED, 0, 5):
            raise ZeroDivisionError("1 / 0")
        return 1.0

    runner = runner_of(lambda settings: Clock(lambda seed, episode: 7, pay), 2)
    runner.sample(4)
    with pytest.raises(
        EnvError, match=rf"^environment 0 \(Clock\), step 6 since it was seeded with {SEED}: "
    ):
        runner.sample(4)
    runner.sample(7)
    assert list(runner.episodes.recent) == [Episode(7.0, 7)] * 2


# --- evaluation -------------------------------------------------------------------------------


def different_lengths(seed: int, episode: int) -> int:
    """Short and long first episodes in turn; later ones are of one step."""
    return 1 if episode else (2 if seed % 2 else 30)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("explore", [False, True])
def test_evaluation_plays_exactly_one_episode_in_each_environment(mode: AutoresetMode, explore: bool) -> None:
    pay = lambda seed, episode, step: 1000.0 if episode else 1.0  # noqa: E731
    env = SyncVectorEnv([lambda: Clock(different_lengths, pay)] * 6, autoreset_mode=mode)
    played = evaluate_episodes(EnvStream(env), Leaning(), BRIDGE, explore=explore, seed=10)
    assert played == [Episode(30.0, 30), Episode(2.0, 2)] * 3  # whoever is slow counts as much


def test_a_reward_that_is_not_finite_is_an_env_error_in_evaluation_too() -> None:
    env = SyncVectorEnv([lambda: Clock(pay=at(1, 2, math.nan, 1.0))] * 2)
    with pytest.raises(
        EnvError, match="environment 1: reward is not finite at step 2 of an episode, in eval"
    ):
        evaluate_episodes(EnvStream(env), Leaning(), BRIDGE, explore=False, seed=SEED)


def test_an_observation_that_is_not_finite_is_an_env_error_in_evaluation_before_it_is_acted_on() -> None:
    env = SyncVectorEnv([Clock, lambda: Clock(show=lambda seed, episode, step: math.inf if step else 0.0)])
    with pytest.raises(
        EnvError, match=r"environment 1: obs\.hand is not finite at step 1 of an episode, in eval"
    ):
        evaluate_episodes(EnvStream(env), Leaning(), BRIDGE, explore=False, seed=SEED)
