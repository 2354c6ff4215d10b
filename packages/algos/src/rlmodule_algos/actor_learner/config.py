"""The settings that IMPALA and APPO share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, Unpack

from rlmodule_algos.batching import VTraceSettings
from rlmodule_algos.config import AlgorithmConfig, TrainingSettings
from rlmodule_algos.settings import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Schedule


class ActorLearnerSettings(TrainingSettings, total=False):
    """Settings of `.training()` that IMPALA and APPO share."""

    lambda_: Fraction
    vtrace_clip_rho_threshold: PositiveFloat
    vtrace_clip_c_threshold: PositiveFloat
    vtrace_clip_pg_rho_threshold: PositiveFloat
    vf_loss_coeff: NonNegativeFloat
    entropy_coeff: NonNegativeFloat | Schedule
    broadcast_interval: PositiveInt


class ActorLearnerConfig(AlgorithmConfig):
    """Settings that IMPALA and APPO share."""

    training_settings: ClassVar[type] = ActorLearnerSettings
    hints: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("minibatch_size", "batch_size", "sgd_minibatch_size", "minibatch_size_per_learner"),
            "'train_batch_size', as a batch is learned from in one step,",
        ),
        **dict.fromkeys(("num_epochs", "num_sgd_iter", "n_epochs"), "always 1"),
        "use_gae": "gone: V-trace estimates the advantages",
        "vtrace": "gone: it is always on",
        "vf_clip_param": "a setting of PPO; the value loss is not clipped",
        "vf_clip_mode": "a setting of PPO; the value loss is not clipped",
        "kl_stop": "a setting of PPO; a batch is one step",
    }

    def __init__(self) -> None:
        super().__init__()
        self.lambda_: float = 1.0
        self.vtrace_clip_rho_threshold: float = 1.0  # rho_bar of (1)
        self.vtrace_clip_c_threshold: float = 1.0  # c_bar of (1)
        self.vtrace_clip_pg_rho_threshold: float = 1.0  # that of the policy gradient, section 4.2
        self.vf_loss_coeff: float = 0.5  # of a loss with a factor 0.5
        self.entropy_coeff: float | Schedule = 0.01
        self.broadcast_interval: int = 1  # updates
        self.lr = 1e-3
        self.train_batch_size = 512
        self.num_envs_per_env_runner = 16
        self.rollout_fragment_length = 32

    def training(self, **settings: Unpack[ActorLearnerSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", self.training_settings, settings)


def vtrace_settings(config: ActorLearnerConfig) -> VTraceSettings:
    """Return what the settings say of V-trace."""
    return VTraceSettings(
        gamma=config.gamma,
        lambda_=config.lambda_,
        clip_rho=config.vtrace_clip_rho_threshold,
        clip_c=config.vtrace_clip_c_threshold,
        clip_pg_rho=config.vtrace_clip_pg_rho_threshold,
    )
