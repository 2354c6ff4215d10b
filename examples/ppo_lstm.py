"""PPO with a memory: `use_lstm`, and the state is carried, stored and reset where it has to be."""

from __future__ import annotations

import sys

import numpy as np

from rlmodule_algos import PPOConfig
from rlmodule_algos.testing import RepeatPrevious  # says which token it showed two steps ago


def main(iterations: int = 12, *, framework: str = "torch") -> None:
    """Train; without a memory a quarter of the answers is right. Then act by hand."""
    model = {"fcnet_hiddens": [64], "use_lstm": True, "lstm_cell_size": 64, "max_seq_len": 20}
    config = (
        PPOConfig()
        .environment(RepeatPrevious, env_config={"num_envs": 32})
        .framework(framework)
        .training(model=model, lr=2e-3, gamma=0.5, train_batch_size=1280, minibatch_size=320)
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        for _ in range(iterations):
            sampled = algorithm.train()["env_runners"]
        right = sampled["episode_return_mean"] / RepeatPrevious.scored_steps
        print(f"{sampled['num_env_steps_sampled_lifetime']} steps: {right:.2f} of the answers right")

        shown, state = [3, 1, 2, 0, 3, 1], algorithm.get_module().get_initial_state()
        said = []
        for token in shown:
            action, state, _ = algorithm.compute_single_action(np.eye(4, dtype=np.float32)[token], state)
            said.append(int(action))
        print(f"shown {shown}, said {said}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
