"""RLlib's side of the benchmark, its IMPALA or APPO, as a process in the peer's environment."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import ray
from async_workload import (
    AFTER_CONVOLUTIONS,
    CONVOLUTIONS,
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
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.impala import IMPALAConfig
from ray.rllib.core.rl_module.default_model_config import (
    DefaultModelConfig,
)
from ray.tune.registry import register_env
from workload import GAMMA, Measurement, Run, StepMeter

NUM_CPUS = 8  # as Ray counts them: it would not place the workers and their helpers on two


def make_pong(settings: object) -> gym.Env[Any, Any]:
    """Return Pong in RLlib's own wrappers: four gray frames, as floats."""
    import ale_py
    from ray.rllib.env.wrappers.atari_wrappers import (
        wrap_atari_for_new_api_stack,
    )

    gym.register_envs(ale_py)
    return wrap_atari_for_new_api_stack(gym.make("ALE/Pong-v5", frameskip=1), dim=84, framestack=4)


def model(workload: Workload) -> Any:
    """Return the network in RLlib's words. After convolutions policy and value have a layer each."""
    if not workload.is_image:
        return DefaultModelConfig(fcnet_hiddens=list(HIDDEN), fcnet_activation="tanh", vf_share_layers=False)
    return DefaultModelConfig(
        conv_filters=list(CONVOLUTIONS),
        conv_activation="relu",
        head_fcnet_hiddens=[AFTER_CONVOLUTIONS],
        head_fcnet_activation="relu",
        vf_share_layers=True,
    )


def config(run: Run) -> Any:
    """Return the workload in RLlib's words; what is not here is its default, for APPO the buffer too."""
    kind = APPOConfig() if run.algorithm == "appo" else IMPALAConfig()
    if run.algorithm == "appo":
        kind.training(circular_buffer_num_batches=1, circular_buffer_iterations_per_batch=1)
    workload = WORKLOADS[run.env]
    if workload.is_image:
        register_env(workload.env_id, make_pong)
    return (
        kind.environment(workload.env_id)
        .env_runners(
            num_env_runners=NUM_WORKERS,
            num_envs_per_env_runner=workload.num_envs,
            rollout_fragment_length=NUM_STEPS,
        )
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=workload.batch_size,
            lr=LEARNING_RATE,
            gamma=GAMMA,
            vf_loss_coeff=VF_LOSS_COEFF,
            entropy_coeff=ENTROPY_COEFF,
            grad_clip=MAX_GRAD_NORM,
            grad_clip_by="global_norm",
        )
        .rl_module(model_config=model(workload))
        .reporting(min_time_s_per_iteration=1)  # of the meter's look at it; shorter ones cost it updates
        .debugging(seed=run.seed)
    )


def trained(result: dict[str, Any]) -> int:
    """Return the steps that were learned from so far."""
    learners = result.get("learners", {}).get("__all_modules__", {})
    return int(learners.get("num_env_steps_trained_lifetime", 0))


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    ray.init(num_cpus=NUM_CPUS, include_dashboard=False, log_to_driver=False)
    algorithm = config(run).build_algo()
    meter = StepMeter(WORKLOADS[run.env].warmup_steps)
    while meter.steps < run.steps:
        result = algorithm.train()
        if steps := trained(result):
            meter.learned(steps)
    algorithm.stop()
    ray.shutdown()
    return meter.measurement(episode_return=result["env_runners"].get("episode_return_mean", math.nan))


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
