"""PPO's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, Unpack

from rlmodule_algos.minibatch_config import MinibatchConfig, MinibatchSettings
from rlmodule_algos.settings import Fraction, NonNegativeFloat, PositiveFloat, Range, Schedule

if TYPE_CHECKING:
    from rlmodule_algos.ppo.ppo import PPO


class PPOTrainingSettings(MinibatchSettings, total=False):
    """Settings of `PPOConfig.training()`."""

    lambda_: Fraction
    clip_param: Annotated[float, Range(0, 1, open_low=True)]
    vf_clip_mode: Literal["none", "error", "value"]
    vf_clip_param: PositiveFloat
    vf_loss_coeff: NonNegativeFloat
    entropy_coeff: NonNegativeFloat | Schedule
    use_kl_loss: bool
    kl_coeff: NonNegativeFloat
    kl_target: PositiveFloat
    kl_stop: PositiveFloat | None
    standardize_advantages: bool


class PPOConfig(MinibatchConfig):
    """PPO's settings. The defaults learn small tasks; where they are the paper's, its table 3 says so.

    >>> PPOConfig().environment("CartPole-v1").training(lr=1e-3).lr
    0.001
    """

    training_settings: ClassVar[type] = PPOTrainingSettings

    def __init__(self) -> None:
        super().__init__()
        self.lambda_: float = 0.95
        self.clip_param: float = 0.2  # epsilon of (7)
        self.vf_clip_mode: Literal["none", "error", "value"] = "none"
        self.vf_clip_param: float = 10.0  # of the squared error ("error") or around the old value ("value")
        self.vf_loss_coeff: float = 0.5  # c_1 of (9); the loss itself has no factor 0.5
        self.entropy_coeff: float | Schedule = 0.0  # c_2 of (9)
        self.use_kl_loss: bool = False
        self.kl_coeff: float = 0.2  # beta of (8), to begin with
        self.kl_target: float = 0.01  # d_targ of section 4
        self.kl_stop: float | None = None  # mean KL of a minibatch at which a module's update ends early
        self.standardize_advantages: bool = True

    def training(self, **settings: Unpack[PPOTrainingSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", PPOTrainingSettings, settings)

    def build(self) -> PPO:
        """Make the environments and the module, and return the algorithm, ready to train."""
        from rlmodule_algos.ppo.ppo import PPO

        return PPO(self)
