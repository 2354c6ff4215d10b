"""BC's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypedDict, Unpack

from rlmodule_algos.minibatch_config import MinibatchConfig
from rlmodule_algos.settings import Range

if TYPE_CHECKING:
    from rlmodule_algos.bc.bc import BC


class OfflineDataSettings(TypedDict, total=False):
    """Settings of `.offline_data()`."""

    input_: Any  # what `rlmodule_algos.offline.read_episodes` takes
    validation_fraction: Annotated[float, Range(0, 0.9)]


class BCConfig(MinibatchConfig):
    """BC's settings. The environment is there for its spaces, and to evaluate.

    A schedule counts the recorded steps that its module has learned from.

    >>> BCConfig().environment("CartPole-v1").training(lr=1e-4).lr
    0.0001
    """

    without_effect: ClassVar[Mapping[str, str]] = {
        "gamma": "BC discounts nothing",
        **dict.fromkeys(
            (
                "num_env_runners",
                "num_envs_per_env_runner",
                "rollout_fragment_length",
                "max_requests_in_flight_per_env_runner",
                "restart_failed_env_runners",
                "max_num_env_runner_restarts",
                "restart_delay_s",
                "sample_timeout_s",
            ),
            "BC learns from recorded episodes and samples nothing",
        ),
    }

    def __init__(self) -> None:
        super().__init__()
        self.lr = 1e-3
        self.train_batch_size = 2048  # recorded steps an iteration
        self.num_epochs = 1  # passes over them
        self.grad_clip = None
        self.input_: Any = None  # None: only to evaluate or load
        self.validation_fraction: float = 0.1  # of the episodes

    def offline_data(self, **settings: Unpack[OfflineDataSettings]) -> Self:
        """Say what to learn from: `input_`, in any form that `read_episodes` takes.

        `validation_fraction` of the episodes are kept out of learning; `validation_loss` is theirs.
        """
        return self._set("offline_data", OfflineDataSettings, settings)

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
