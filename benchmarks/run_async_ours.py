"""Our side of the asynchronous benchmark, as a process of its own: prints one line of JSON, the last."""

from __future__ import annotations

from async_workload import (
    BATCH_SIZE,
    ENTROPY_COEFF,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    NUM_ENVS,
    NUM_STEPS,
    NUM_WORKERS,
    VF_LOSS_COEFF,
    WARMUP_STEPS,
)
from workload import ENV_ID, GAMMA, HIDDEN, Measurement, Run, StepMeter

from rlmodule_algos import APPOConfig, ImpalaConfig


def config(run: Run) -> APPOConfig | ImpalaConfig:
    """Return the workload in our words."""
    appo = APPOConfig().training(circular_buffer_num_batches=1, circular_buffer_iterations_per_batch=1)
    return (
        (appo if run.algorithm == "appo" else ImpalaConfig())
        .environment(ENV_ID)
        .env_runners(
            num_env_runners=NUM_WORKERS, num_envs_per_env_runner=NUM_ENVS, rollout_fragment_length=NUM_STEPS
        )
        .training(
            train_batch_size=BATCH_SIZE,
            model={"fcnet_hiddens": list(HIDDEN), "fcnet_activation": "tanh", "vf_share_layers": False},
            lr=LEARNING_RATE,
            gamma=GAMMA,
            vf_loss_coeff=VF_LOSS_COEFF,
            entropy_coeff=ENTROPY_COEFF,
            grad_clip=MAX_GRAD_NORM,
            grad_clip_by="global_norm",
        )
        .debugging(seed=run.seed)
    )


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    meter = StepMeter(WARMUP_STEPS)
    with config(run).build() as algorithm:
        while meter.steps < run.steps:
            result = algorithm.train()
            meter.learned(result["env_runners"]["num_env_steps_trained_lifetime"])
    return meter.measurement(episode_return=result["env_runners"]["episode_return_mean"])


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
