"""Train PPO, record what it plays, and clone it by behaviour cloning: the second never acts to learn."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rlmodule_algos import BCConfig, PPOConfig
from rlmodule_algos.offline import record_episodes, write_episodes


def main(iterations: int = 15, *, framework: str = "torch") -> None:
    """The files serve either framework; `iterations` are PPO's, of 2048 steps each."""
    teacher = PPOConfig().environment("CartPole-v1").framework(framework).debugging(seed=0)
    with tempfile.TemporaryDirectory() as folder, teacher.build() as algorithm:
        for _ in range(iterations):
            algorithm.train()
        greedy = algorithm.evaluate()["evaluation"]["episode_return_mean"]
        print(f"teacher: {greedy:.0f}")
        policy = algorithm.get_policy()
        episodes = record_episodes(policy, "CartPole-v1", num_episodes=20, num_envs=10, explore=False)
        path = Path(folder) / "cartpole.npz"
        write_episodes(path, episodes)
        print(f"recorded: {sum(episode.num_steps for episode in episodes)} steps")

        pupil = BCConfig().environment("CartPole-v1").framework(framework).offline_data(input_=str(path))
        with pupil.training(num_epochs=4).debugging(seed=0).build() as clone:
            for _ in range(iterations):
                loss = clone.train()["learners"]["default_policy"]["validation_loss"]
            greedy = clone.evaluate()["evaluation"]["episode_return_mean"]
            print(f"pupil: {greedy:.0f}, validation loss {loss:.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
