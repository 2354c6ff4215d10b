"""Train PPO on CartPole, look at its return, and play it greedily."""

from __future__ import annotations

import sys

from rlmodule_algos import PPOConfig


def main(iterations: int = 15) -> None:
    """Train for some iterations of 2048 steps each."""
    config = PPOConfig().environment("CartPole-v1").debugging(seed=0)
    with config.build() as algorithm:
        for _ in range(iterations):
            result = algorithm.train()
            sampled = result["env_runners"]
            steps, mean = sampled["num_env_steps_sampled_lifetime"], sampled["episode_return_mean"]
            print(f"{steps:>7} steps  {mean:.1f}")
        greedy = algorithm.evaluate(num_episodes=20)["evaluation"]
        print(f"greedy: {greedy['episode_return_mean']:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
