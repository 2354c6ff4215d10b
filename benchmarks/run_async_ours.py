"""Our side of the asynchronous benchmark, as a process of its own: prints one line of JSON, the last."""

from __future__ import annotations

from typing import Any

from async_workload import (
    ENTROPY_COEFF,
    HIDDEN,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    NUM_STEPS,
    NUM_WORKERS,
    VF_LOSS_COEFF,
    WORKLOADS,
    Workload,
)
from workload import GAMMA, Measurement, Run, StepMeter

from rlmodule_algos import APPOConfig, ImpalaConfig


def model(workload: Workload) -> dict[str, Any]:
    """Return the network in our words; the default one for Atari's images is the workload's."""
    if workload.is_image:
        return {"vf_share_layers": True}
    return {"fcnet_hiddens": list(HIDDEN), "fcnet_activation": "tanh", "vf_share_layers": False}


def config(run: Run) -> APPOConfig | ImpalaConfig:
    """Return the workload in our words."""
    workload = WORKLOADS[run.env]
    appo = APPOConfig().training(circular_buffer_num_batches=1, circular_buffer_iterations_per_batch=1)
    return (
        (appo if run.algorithm == "appo" else ImpalaConfig())
        .environment(workload.env_id)
        .env_runners(
            num_env_runners=NUM_WORKERS,
            num_envs_per_env_runner=workload.num_envs,
            rollout_fragment_length=NUM_STEPS,
        )
        .training(
            train_batch_size=workload.batch_size,
            model=model(workload),
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
    meter = StepMeter(WORKLOADS[run.env].warmup_steps)
    with config(run).build() as algorithm:
        while meter.steps < run.steps:
            result = algorithm.train()
            meter.learned(result["env_runners"]["num_env_steps_trained_lifetime"])
    return meter.measurement(episode_return=result["env_runners"]["episode_return_mean"])


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
