"""APPO's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, Unpack

from rlmodule_algos.actor_learner import ActorLearnerConfig, ActorLearnerSettings
from rlmodule_algos.settings import NonNegativeFloat, PositiveFloat, PositiveInt, Range

if TYPE_CHECKING:
    from rlmodule_algos.appo.appo import APPO


class APPOTrainingSettings(ActorLearnerSettings, total=False):
    """Settings of `APPOConfig.training()`."""

    clip_param: Annotated[float, Range(0, 1, open_low=True)]
    target_worker_clipping: Annotated[float, Range(1)]
    target_network_update_freq: PositiveInt
    tau: Annotated[float, Range(0, 1, open_low=True)]
    circular_buffer_num_batches: PositiveInt
    circular_buffer_iterations_per_batch: PositiveInt
    standardize_advantages: bool
    use_kl_loss: bool
    kl_coeff: NonNegativeFloat
    kl_target: PositiveFloat


class APPOConfig(ActorLearnerConfig):
    """APPO's settings. The losses are means over steps.

    >>> APPOConfig().environment("CartPole-v1").training(tau=0.5).clip_param
    0.2
    """

    training_settings: ClassVar[type] = APPOTrainingSettings
    hints: ClassVar[Mapping[str, str]] = {
        **ActorLearnerConfig.hints,
        **dict.fromkeys(("num_epochs", "num_sgd_iter", "n_epochs"), "'circular_buffer_iterations_per_batch'"),
        "target_kl": "'kl_target' with use_kl_loss=True,",
        "replay_buffer_num_slots": "'circular_buffer_num_batches'",
    }

    def __init__(self) -> None:
        super().__init__()
        self.clip_param: float = 0.2  # epsilon of the clipped surrogate
        self.target_worker_clipping: float = 2.0  # rho of IMPACT, the bound of mu/pi_T
        self.target_network_update_freq: int = 2048  # steps learned from, each use counted
        self.tau: float = 1.0  # how much of the new weights the target network takes over
        self.circular_buffer_num_batches: int = 2  # N
        self.circular_buffer_iterations_per_batch: int = 2  # K
        self.standardize_advantages: bool = True
        self.use_kl_loss: bool = False
        self.kl_coeff: float = 1.0  # of KL(pi_T || pi), to begin with
        self.kl_target: float = 0.01

    def training(self, **settings: Unpack[APPOTrainingSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", APPOTrainingSettings, settings)

    def _problems(self) -> list[str]:
        problems, held = super()._problems(), self.circular_buffer_num_batches
        once = self.circular_buffer_iterations_per_batch == 1
        if once and held > 1 and "circular_buffer_num_batches" in self._given:
            problems.append(
                f"training: circular_buffer_num_batches={held} would have no effect, as a batch is gone "
                "once it was used, and circular_buffer_iterations_per_batch is 1; leave it out"
            )
        frequency, batch = self.target_network_update_freq, self.train_batch_size
        if self.use_kl_loss and self.tau == 1.0 and frequency <= batch:
            problems.append(
                "training: use_kl_loss=True would have no effect, as the target network is the policy itself "
                f"at every step: it follows every target_network_update_freq={frequency} steps that were "
                f"learned from, and one step learns from train_batch_size={batch}; raise the former"
            )
        return problems

    def build(self) -> APPO:
        """Make the environments and the modules, and return the algorithm, ready to train."""
        from rlmodule_algos.appo.appo import APPO

        return APPO(self)
