"""What `evaluate()` plays, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import Algorithm, MultiAgentCartPole, PPOConfig
from rlmodule_algos.frameworks import Framework


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


class Still(gym.Env[Any, Any]):
    """Shows the same for 40 steps and pays 1 for the action 1."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (2,))
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.t = 0
        return np.full(2, 0.5, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(2, 0.5, np.float32), float(action), self.t == 40, False, {}


def config(env: Any = "CartPole-v1", seed: int | None = 0) -> PPOConfig:
    training: dict[str, Any] = {"model": {"fcnet_hiddens": [8]}, "train_batch_size": 64, "minibatch_size": 64}
    return PPOConfig().environment(env).training(**training, num_epochs=1).debugging(seed=seed)


def returns_of(algorithm: Algorithm[Any], **how: Any) -> list[float]:
    returns: list[float] = algorithm.evaluate(8, **how)["evaluation"]["episode_returns"]
    return returns


def test_evaluation_is_greedy_unless_it_is_to_explore() -> None:
    with config(Still).build() as algorithm:
        greedy, explored = returns_of(algorithm), returns_of(algorithm, explore=True)
    assert set(greedy) in ({0.0}, {40.0})
    assert all(0.0 < total < 40.0 for total in explored)


def test_the_returns_of_single_agents_are_those_of_all_episodes_that_were_counted() -> None:
    """Of a window of the last to end the short episodes would be missing."""
    chosen = config(MultiAgentCartPole).environment(env_config={"num_agents": 5})
    with chosen.build() as algorithm:
        played = algorithm.evaluate(40)["evaluation"]
    assert played["num_episodes"] == len(played["episode_returns"]) == 40
    mean = played["module_episode_return_mean"]["default_policy"]
    assert mean == pytest.approx(played["episode_return_mean"] / 5)


def test_every_evaluation_plays_episodes_of_its_own_which_follow_from_the_seed() -> None:
    with config(seed=1).build() as one, config(seed=1).build() as same, config(seed=2).build() as other:
        state = one.get_state()
        for run in (same, other):
            run.learner.set_state(state["learner"])
        first, second, third = (returns_of(one, explore=True) for _ in range(3))
        assert [first, second, third] == [returns_of(same, explore=True) for _ in range(3)]
        assert first != second != third != first
        assert returns_of(other, explore=True) != first


def test_a_restored_run_goes_on_with_the_evaluations_of_the_one_that_was_saved(tmp_path: Path) -> None:
    with config(seed=3).build() as run:
        first = returns_of(run)
        run.save(tmp_path)
        second = returns_of(run)
    with Algorithm.from_checkpoint(tmp_path) as restored:
        assert returns_of(restored) == second
    assert first != second


# --- policies that draw -------------------------------------------------------------------------


def draws(algorithm: Algorithm[Any], count: int = 40) -> list[int]:
    obs = np.zeros(4, np.float32)
    return [int(algorithm.compute_single_action(obs, explore=True)) for _ in range(count)]


def drawn_by_a_policy(algorithm: Algorithm[Any]) -> list[int]:
    actions: list[int] = (
        algorithm.get_policy().compute_actions(np.zeros((40, 4), np.float32)).actions.tolist()
    )
    return actions


@pytest.mark.parametrize("drawing", [draws, drawn_by_a_policy])
def test_what_policies_draw_follows_from_the_seed(drawing: Any) -> None:
    with config(seed=1).build() as one, config(seed=1).build() as same, config(seed=2).build() as other:
        first, second = drawing(one), drawing(one)
        assert [first, second] == [drawing(same), drawing(same)]
        assert first != second
        assert drawing(other) != first
        assert 0 < sum(first) < 40


def test_without_a_seed_policies_draw_as_chance_has_it() -> None:
    with config(seed=None).build() as one, config(seed=None).build() as other:
        assert draws(one) != draws(other)


def test_policies_draw_nothing_from_the_generators_of_training() -> None:
    with config(seed=4).build() as plain, config(seed=4).build() as played:
        for _ in range(2):
            draws(played)
            results = [run.train()["learners"] for run in (plain, played)]
            assert results[0] == results[1]


def test_a_restored_run_goes_on_drawing_where_the_saved_one_was(tmp_path: Path) -> None:
    with config(seed=5).build() as run:
        draws(run)
        run.save(tmp_path)
        following = draws(run)
    with Algorithm.from_checkpoint(tmp_path) as restored:
        assert draws(restored) == following
