"""BC's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict, Unpack

from rlmodule_algos.minibatch_config import MinibatchConfig, MinibatchSettings
from rlmodule_algos.settings import ConfigError, Range

if TYPE_CHECKING:
    from rlmodule_algos.bc.bc import BC


class OfflineDataSettings(TypedDict, total=False):
    """Settings of `.offline_data()`."""

    input_: Any  # what `rlmodule_algos.offline.read_episodes` takes
    validation_fraction: Annotated[float, Range(0, 0.9)]


class BCConfig(MinibatchConfig):
    """BC's settings. The environment is there for its spaces, and to evaluate.

    A schedule counts recorded steps that were learned from.

    >>> BCConfig().environment("CartPole-v1").training(lr=1e-4).lr
    0.0001
    """

    def __init__(self) -> None:
        super().__init__()
        self.lr = 1e-3
        self.train_batch_size = 2048  # recorded steps an iteration
        self.num_epochs = 1  # passes over them
        self.grad_clip = None
        self.input_: Any = None  # None: only to evaluate or load
        self.validation_fraction: float = 0.1  # of the episodes

    def training(self, **settings: Unpack[MinibatchSettings]) -> Self:
        """Set hyperparameters; all but `gamma`. A schedule is `[[step, value], ...]`."""
        problems = ["gamma: BC discounts nothing; leave it out"] if "gamma" in settings else []
        return self._set("training", self.training_settings, settings, problems=problems)

    def offline_data(self, **settings: Unpack[OfflineDataSettings]) -> Self:
        """Say what to learn from: `input_`, in any form that `read_episodes` takes.

        `validation_fraction` of the episodes are kept out of learning; `validation_loss` is theirs.
        """
        return self._set("offline_data", OfflineDataSettings, settings)

    def validate(self) -> None:
        """Raise ConfigError for settings that exclude one another, or env runners."""
        super().validate()
        if self.num_env_runners:
            raise ConfigError(
                f"env_runners: num_env_runners: BC learns from recorded episodes and samples nothing; "
                f"leave it at 0, got {self.num_env_runners}"
            )

    @classmethod
    def _groups(cls) -> dict[str, type]:
        return {**super()._groups(), "offline_data": OfflineDataSettings}

    def build(self) -> BC:
        """Read the data, make the module, and return the algorithm, ready to train.

        Raises OfflineDataError for data that is not of the environment's spaces, beside what every
        algorithm raises.
        """
        from rlmodule_algos.bc.bc import BC

        return BC(self)
