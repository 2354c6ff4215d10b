"""What each setter of an algorithm's config takes, with types and ranges."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Literal, TypeAlias, TypedDict

from rlmodule_algos.settings.checking import (
    Fraction,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    Schedule,
)
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

RENAMED = {
    "num_sgd_iter": "'num_epochs'",
    "sgd_minibatch_size": "'minibatch_size'",
    "minibatch_size_per_learner": "'minibatch_size'",
    "train_batch_size_per_learner": "'train_batch_size'",
    "num_rollout_workers": "'num_env_runners'",
    "num_workers": "'num_env_runners'",
    "num_envs_per_worker": "'num_envs_per_env_runner'",
    "lambda": "'lambda_'",
    "gae_lambda": "'lambda_'",
    "learning_rate": "'lr'",
    "batch_size": "'minibatch_size'",
    "n_epochs": "'num_epochs'",
    "clip_range": "'clip_param'",
    "ent_coef": "'entropy_coeff'",
    "vf_coef": "'vf_loss_coeff'",
    "max_grad_norm": "'grad_clip'",
    "normalize_advantage": "'standardize_advantages'",
    "target_kl": "'kl_stop', or 'kl_target' with use_kl_loss=True,",
    "policy_mapping": "'policy_mapping_fn'",
    "policies_to_learn": "'policies_to_train'",
    "delay_between_env_runner_restarts_s": "'restart_delay_s'",
    "recreate_failed_workers": "'restart_failed_env_runners'",
    "recreate_failed_env_runners": "'restart_failed_env_runners'",
    "address": "'ray_address'",
    "metrics_num_episodes_for_smoothing": "100, and not a setting,",
    "min_time_s_per_iteration": "not a setting, as an iteration is 'train_batch_size' steps,",
    "min_train_timesteps_per_iteration": "'train_batch_size'",
    "min_sample_timesteps_per_iteration": "'train_batch_size'",
    "checkpoint_frequency": "'checkpoint_interval'",
    "checkpoint_freq": "'checkpoint_interval'",
    "evaluation_num_workers": "'evaluation_num_env_runners'",
    "use_critic": "gone: every actor-critic algorithm has a critic",
    "custom_model": "not a setting; your module goes to .rl_module(rl_module_spec=...)",
}
"""Names of other versions and libraries, and what to say instead; settings stand in quotes."""


def advice(known: AbstractSet[str]) -> dict[str, str]:
    """Return what to say instead of a name of `RENAMED` where these settings are known.

    >>> advice({"num_epochs"})["n_epochs"], advice(set())["n_epochs"]
    ("'num_epochs'", "another name of 'num_epochs', which is no setting")
    """
    said = {}
    for name, instead in RENAMED.items():
        settings = re.findall(r"'(\w+)'", instead)
        other = f"another name of {settings[0]!r}, which is no setting" if settings else ""
        said[name] = instead if known >= set(settings) else other
    return said


Seed: TypeAlias = Annotated[int, Range(0, 2**32 - 1)]


class EnvironmentSettings(TypedDict, total=False):
    """Settings of `.environment()` beside `env`."""

    env_config: Mapping[str, Any]


class RLModuleSettings(TypedDict, total=False):
    """Settings of `.rl_module()`."""

    rl_module_spec: SingleAgentRLModuleSpec | MultiAgentRLModuleSpec | None
    _enable_rl_module_api: bool


class TrainingSettings(TypedDict, total=False):
    """Settings of `.training()` that every algorithm has."""

    model: Mapping[str, Any]
    lr: PositiveFloat | Schedule
    gamma: Fraction
    train_batch_size: PositiveInt
    grad_clip: PositiveFloat | None
    grad_clip_by: Literal["value", "norm", "global_norm"]
    adam_epsilon: PositiveFloat


class MinibatchSettings(TrainingSettings, total=False):
    """Settings of `.training()` of the algorithms that take epochs of minibatches."""

    minibatch_size: PositiveInt
    num_epochs: PositiveInt


class EnvRunnerSettings(TypedDict, total=False):
    """Settings of `.env_runners()`."""

    num_env_runners: NonNegativeInt
    num_envs_per_env_runner: PositiveInt
    rollout_fragment_length: PositiveInt | None
    max_requests_in_flight_per_env_runner: PositiveInt
    ray_address: str | None


class LearnerSettings(TypedDict, total=False):
    """Settings of `.learners()`."""

    num_learners: NonNegativeInt
    device: str


class MultiAgentSettings(TypedDict, total=False):
    """Settings of `.multi_agent()`."""

    policies: Mapping[str, SingleAgentRLModuleSpec | None] | Sequence[str] | AbstractSet[str]
    policy_mapping_fn: Callable[[str], str] | None
    policies_to_train: Sequence[str] | AbstractSet[str] | None


class EvaluationSettings(TypedDict, total=False):
    """Settings of `.evaluation()`."""

    evaluation_interval: PositiveInt | None
    evaluation_duration: PositiveInt
    evaluation_num_env_runners: NonNegativeInt


class CheckpointingSettings(TypedDict, total=False):
    """Settings of `.checkpointing()`."""

    checkpoint_interval: PositiveInt | None
    checkpoint_dir: str | None


class ReportingSettings(TypedDict, total=False):
    """Settings of `.reporting()`: there are none."""


class FaultToleranceSettings(TypedDict, total=False):
    """Settings of `.fault_tolerance()`."""

    restart_failed_env_runners: bool
    max_num_env_runner_restarts: NonNegativeInt
    max_failures_in_a_row: PositiveInt
    restart_delay_s: PositiveFloat
    sample_timeout_s: PositiveFloat
    start_timeout_s: PositiveFloat
    learn_timeout_s: PositiveFloat


class DebuggingSettings(TypedDict, total=False):
    """Settings of `.debugging()`."""

    seed: Seed | None


GROUPS: Mapping[str, type] = {
    "environment": EnvironmentSettings,
    "rl_module": RLModuleSettings,
    "env_runners": EnvRunnerSettings,
    "learners": LearnerSettings,
    "multi_agent": MultiAgentSettings,
    "evaluation": EvaluationSettings,
    "checkpointing": CheckpointingSettings,
    "reporting": ReportingSettings,
    "fault_tolerance": FaultToleranceSettings,
    "debugging": DebuggingSettings,
}
"""Setters and what they take; `.training()` takes what each algorithm says."""
