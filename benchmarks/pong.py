"""PPO on ALE/Pong-v5: env steps a second, and where they go. 20,000 steps; nobody learns Pong from those.

hatch run python benchmarks/pong.py                      # PyTorch, 8 environments
hatch run python benchmarks/pong.py --framework tf --steps 5000
"""

from __future__ import annotations

import argparse
from collections import Counter
from time import perf_counter

from rlmodule_algos import PPOConfig

NUM_ENVS = 8
WARMUP = 1  # iterations that are not measured: kernels are chosen, graphs are traced


def config(framework: str) -> PPOConfig:
    """Return the usual settings of PPO on Atari: 8 x 128 steps, 4 epochs of 4 minibatches, one encoder."""
    training = PPOConfig().training(
        train_batch_size=NUM_ENVS * 128,
        minibatch_size=256,
        num_epochs=4,
        lr=2.5e-4,
        clip_param=0.1,
        entropy_coeff=0.01,
        model={"vf_share_layers": True},
    )
    training.environment("ALE/Pong-v5").env_runners(num_envs_per_env_runner=NUM_ENVS)
    return training.framework(framework).debugging(seed=0)


def main() -> None:
    """Train, and print env steps a second in all and what each part takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--framework", choices=["torch", "tf"], default="torch")
    parser.add_argument("--steps", type=int, default=20_000, help="env steps, of four frames each")
    chosen = parser.parse_args()
    begin = perf_counter()
    with config(chosen.framework).build() as algorithm:
        print(f"built in {perf_counter() - begin:.1f} s")
        timers, first = Counter[str](), 0
        while algorithm.env_steps < chosen.steps:
            result = algorithm.train()
            if algorithm.iteration <= WARMUP:
                first = algorithm.env_steps
                continue
            timers.update(result["timers"])
        steps, seconds = algorithm.env_steps - first, timers["iteration_s"]
    print(f"{chosen.framework}: {steps} env steps in {seconds:.1f} s, {steps / seconds:.0f} a second")
    parts = {
        "emulator": timers["env_s"],
        "acting and recording": timers["sample_s"] - timers["env_s"],
        "learning": timers["learn_s"],
    }
    for name, spent in parts.items():
        print(f"  {name:22}{100 * spent / seconds:5.1f} %")
    print(f"  return of the last episodes: {result['env_runners']['episode_return_mean']:.1f}")


if __name__ == "__main__":
    main()
