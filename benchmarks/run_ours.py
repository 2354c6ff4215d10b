"""Our side of the benchmark, as a process of its own: prints one line of JSON.

Our PPO computes with one torch thread at this minibatch size by itself.
"""

from __future__ import annotations

from collections import Counter

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
    VF_LOSS_COEFF,
    Measurement,
    Meter,
    Run,
)

from rlmodule_algos import PPOConfig


def config(seed: int) -> PPOConfig:
    """Return the workload in our words."""
    return (
        PPOConfig()
        .environment(ENV_ID)
        .env_runners(num_envs_per_env_runner=NUM_ENVS)
        .training(
            train_batch_size=BATCH_SIZE,
            minibatch_size=MINIBATCH_SIZE,
            num_epochs=NUM_EPOCHS,
            model={"fcnet_hiddens": list(HIDDEN), "fcnet_activation": "tanh", "vf_share_layers": False},
            lr=LEARNING_RATE,
            gamma=GAMMA,
            lambda_=LAMBDA,
            clip_param=CLIP_PARAM,
            vf_loss_coeff=VF_LOSS_COEFF,
            entropy_coeff=ENTROPY_COEFF,
            grad_clip=MAX_GRAD_NORM,
            grad_clip_by="global_norm",
            adam_epsilon=ADAM_EPSILON,
        )
        .debugging(seed=seed)
    )


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    meter, timers = Meter(), Counter[str]()
    with config(run.seed).build() as algorithm:
        while meter.steps < run.steps:
            result = algorithm.train()
            sampled = result["env_runners"]["num_env_steps_sampled_lifetime"]
            if meter.iteration_ended(sampled):
                timers.update(result["timers"])
    return meter.measurement(
        episode_return=result["env_runners"]["episode_return_mean"],
        stages={
            "env": timers["env_s"],
            "acting and recording": timers["sample_s"] - timers["env_s"],
            "learning": timers["learn_s"],
            "the rest": timers["iteration_s"] - timers["sample_s"] - timers["learn_s"],
        },
    )


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
