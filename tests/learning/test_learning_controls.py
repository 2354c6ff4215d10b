"""What must not be learned: every run here has something broken, and its ceiling is known exactly.

A learning test that also passes with shuffled labels proves nothing; these are the tests of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cells import CATCH, GATED, REPEAT, SMALL_CNN, SMALL_LSTM, WIDE, Task, bc, evaluate, ppo, recorded

from rlmodule_algos import PPO
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.returns import standardize
from rlmodule_algos.testing import Catch, GatedLeaves, PreviousEpisodeCue, RepeatPrevious

MANY = 1000  # episodes of an evaluation, where the ceiling is near
FLAT: dict[str, Any] = {"fcnet_hiddens": [64, 64]}


def score_of(
    make: Callable[[], AlgorithmConfig],
    task: Task,
    num_steps: int,
    spoil: Callable[[Algorithm[Any]], None] = lambda algorithm: None,
) -> float:
    """Train with a fault for so many steps and return the score of greedy episodes."""
    config = make().environment(task.env, env_config=task.env_config).debugging(seed=0)
    with config.build() as algorithm:
        spoil(algorithm)
        while algorithm.env_steps < num_steps:
            algorithm.train()
        return evaluate(algorithm, task)


def without(task: Task, part: str) -> Task:
    """The task with a part of its observation that is always 0."""
    return replace(task, env_config={**task.env_config, "zeroed": part}, num_episodes=MANY)


# --- a policy that cannot remember --------------------------------------------------------------


def test_ppo_without_memory_answers_repeat_previous_by_chance() -> None:
    assert score_of(ppo(gamma=0.5, model=FLAT), REPEAT, 15_000) <= 0.30


def test_bc_without_memory_answers_repeat_previous_by_chance() -> None:
    assert score_of(bc(recorded(RepeatPrevious, 200), model=FLAT), REPEAT, 15_000) <= 0.30


# --- actions that belong to other observations --------------------------------------------------


def with_actions(
    play: Callable[[], Any], change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> Callable[[], Any]:
    """Recorded episodes, their actions changed."""
    return lambda: [{**episode, "actions": change(episode["actions"])} for episode in play()]


def shifted_by_one(actions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Each action belongs to the observation one step earlier."""
    return np.concatenate([actions[1:], actions[-1:]])


def test_bc_of_shuffled_actions_catches_what_a_blind_policy_catches() -> None:
    rng = np.random.default_rng(0)
    data = with_actions(recorded(Catch, 2000), lambda actions: rng.integers(3, size=actions.shape))

    assert score_of(bc(data, model=SMALL_CNN), replace(CATCH, num_episodes=MANY), 15_000) <= -0.6


@pytest.mark.long
def test_bc_of_actions_shifted_by_one_misses_the_ball() -> None:
    data = with_actions(recorded(Catch, 2000), shifted_by_one)

    assert score_of(bc(data, model=SMALL_CNN), replace(CATCH, num_episodes=MANY), 20_000) <= 0.3


def test_bc_of_actions_shifted_by_one_answers_repeat_previous_by_chance_though_its_loss_falls() -> None:
    data = with_actions(recorded(RepeatPrevious, 200), shifted_by_one)

    assert score_of(bc(data, model=SMALL_LSTM), REPEAT, 15_000) <= 0.30


def act_one_step_late(algorithm: Algorithm[Any]) -> None:
    """Show the learner each action beside the next observation."""
    assert isinstance(algorithm, PPO)
    sample = algorithm.pool.sample

    def shifted(num_env_steps: int) -> Mapping[str, Any]:
        return {
            module_id: [replace(part, actions=shifted_by_one(part.actions)) for part in fragments]
            for module_id, fragments in sample(num_env_steps).items()
        }

    algorithm.pool.sample = shifted  # type: ignore[method-assign, assignment]


@pytest.mark.long
def test_ppo_with_actions_shifted_by_one_gates_no_leaf() -> None:
    assert score_of(ppo(gamma=0.0, model=WIDE), GATED, 15_000, act_one_step_late) <= 0.40


# --- observations that lack something -----------------------------------------------------------

LEAVES = [pytest.param(leaf, marks=pytest.mark.long) for leaf in GatedLeaves.zeroable[1:]]


@pytest.mark.parametrize("leaf", LEAVES)
def test_without_one_leaf_ppo_stays_at_three_quarters_and_a_guess(leaf: str) -> None:
    score = score_of(ppo(gamma=0.0, model=WIDE), without(GATED, leaf), 40_000)

    assert 0.7 <= score <= 0.85  # 0.8125 exactly; it does learn the other leaves


@pytest.mark.long
def test_without_the_leaf_that_selects_ppo_stays_at_the_number_that_occurs_most_often() -> None:
    assert score_of(ppo(gamma=0.0, model=WIDE), without(GATED, "sel"), 10_000) <= 0.58  # 0.53125 exactly


@pytest.mark.parametrize(
    ("channel", "ceiling"), [("ball", -0.6), pytest.param("paddle", 0.7, marks=pytest.mark.long)]
)
def test_without_a_channel_ppo_catches_no_more_than_is_possible(channel: str, ceiling: float) -> None:
    steps = 15_000 if channel == "ball" else 60_000

    assert score_of(ppo(gamma=0.97, lr=1e-3, model=SMALL_CNN), without(CATCH, channel), steps) <= ceiling


# --- a state that would have to leak ------------------------------------------------------------


@pytest.mark.long
def test_what_the_last_episode_showed_is_not_remembered_in_this_one() -> None:
    """Of what is sampled, as evaluation plays one episode in each environment.

    With a state that is kept over the ends of episodes the score rises after 70 iterations, to 0.8.
    """
    config = ppo(gamma=0.0, lr=3e-3, num_epochs=10, model=SMALL_LSTM)()
    config.environment(PreviousEpisodeCue, env_config={"num_envs": 32}).debugging(seed=0)
    with config.build() as algorithm:
        returns = [algorithm.train()["env_runners"]["episode_return_mean"] for _ in range(90)]

    assert np.mean(returns[75:]) / PreviousEpisodeCue.scored_steps <= 0.30  # 0.25 exactly


# --- learning that is broken --------------------------------------------------------------------


def test_negated_advantages_unlearn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlmodule_algos.ppo.ppo.standardize", lambda *given: -standardize(*given))

    assert score_of(ppo(gamma=0.0, model=WIDE), GATED, 6_000) <= 0.25


def test_a_frozen_optimizer_leaves_the_policy_as_blind_as_it_was_born() -> None:
    assert score_of(ppo(gamma=0.0, lr=1e-12, model=WIDE), GATED, 2_500) <= 0.40


@pytest.mark.long
def test_with_gamma_0_only_the_last_step_is_credited_and_most_balls_are_missed() -> None:
    config = ppo(gamma=0.0, lr=1e-3, model=SMALL_CNN)

    assert score_of(config, replace(CATCH, num_episodes=MANY), 20_000) <= 0.0
