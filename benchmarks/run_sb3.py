"""Stable-Baselines3's side of the benchmark, as a process in the peer's environment.

Prints one line of JSON. What is not set here is PPO's default in Stable-Baselines3: its MlpPolicy
has two separate networks of 64x64 tanh, and Adam's epsilon is 1e-5.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch
from stable_baselines3 import PPO  # type: ignore[import-not-found]  # only in its own environment
from stable_baselines3.common.env_util import make_vec_env  # type: ignore[import-not-found]
from workload import (
    ADAM_EPSILON,
    BATCH_SIZE,
    CLIP_PARAM,
    ENTROPY_COEFF,
    ENV_ID,
    GAMMA,
    HIDDEN,
    LAMBDA,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    MINIBATCH_SIZE,
    NUM_ENVS,
    NUM_EPOCHS,
    NUM_STEPS,
    VF_LOSS_COEFF,
    WARMUP_ITERATIONS,
    Measurement,
    Meter,
    Run,
)


def make_model(seed: int) -> Any:
    """Return the workload in Stable-Baselines3's words."""
    return PPO(
        "MlpPolicy",
        make_vec_env(ENV_ID, n_envs=NUM_ENVS, seed=seed),
        n_steps=NUM_STEPS,
        batch_size=MINIBATCH_SIZE,
        n_epochs=NUM_EPOCHS,
        learning_rate=LEARNING_RATE,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
        clip_range=CLIP_PARAM,
        vf_coef=VF_LOSS_COEFF,
        ent_coef=ENTROPY_COEFF,
        max_grad_norm=MAX_GRAD_NORM,
        policy_kwargs={
            "net_arch": {"pi": list(HIDDEN), "vf": list(HIDDEN)},
            "activation_fn": torch.nn.Tanh,
            "optimizer_kwargs": {"eps": ADAM_EPSILON},
        },
        seed=seed,
        device="cpu",
    )


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    torch.set_num_threads(1)  # its best setting: with more, networks of this size are slower
    model, meter = make_model(run.seed), Meter()
    learn_from_fragment = model.train

    def train() -> None:
        """End an iteration as Stable-Baselines3 does, and note when."""
        learn_from_fragment()
        meter.iteration_ended(model.num_timesteps)

    model.train = train
    model.learn(total_timesteps=WARMUP_ITERATIONS * BATCH_SIZE + run.steps)
    return meter.measurement(
        episode_return=statistics.fmean(episode["r"] for episode in model.ep_info_buffer)
    )


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
