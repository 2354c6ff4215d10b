"""PPO with its default settings solves CartPole-v1: mean return 475 of 20 greedy episodes.

Once may be luck, so it counts when two iterations in a row reach it.

The first seed runs by default; `-m "long or not long" -s` runs five and prints steps and seconds of each.
"""

from __future__ import annotations

import pytest

from rlmodule_algos import PPOConfig

GOAL, MOST_STEPS, EPISODES = 475.0, 150_000, 20


def steps_to_goal(seed: int) -> tuple[int | None, float]:
    """Return the env steps after which the goal was kept (None: never) and the seconds of training."""
    with PPOConfig().environment("CartPole-v1").debugging(seed=seed).build() as algorithm:
        seconds, reached = 0.0, 0
        while algorithm.env_steps < MOST_STEPS:
            seconds = algorithm.train()["time_total_s"]
            greedy = algorithm.evaluate(EPISODES)["evaluation"]["episode_return_mean"]
            reached = reached + 1 if greedy >= GOAL else 0
            if reached == 2:
                return algorithm.env_steps, seconds
    return None, seconds


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))])
def test_ppo_reaches_475_greedy_on_cartpole_within_150k_steps(seed: int) -> None:
    steps, seconds = steps_to_goal(seed)
    print(f"\nseed {seed}: {steps} env steps, {seconds:.1f} s of training")

    assert steps is not None
