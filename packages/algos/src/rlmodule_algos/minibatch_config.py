"""What the configs share of the algorithms that take epochs of minibatches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, Unpack

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.settings import MinibatchSettings

__all__ = ["MinibatchConfig", "MinibatchSettings"]


class MinibatchConfig(AlgorithmConfig):
    """Settings of an algorithm that passes `num_epochs` times over each batch."""

    training_settings: ClassVar[type] = MinibatchSettings
    without_effect: ClassVar[Mapping[str, str]] = {
        "max_requests_in_flight_per_env_runner": "a setting of IMPALA and APPO, which sample while they learn"
    }

    def __init__(self) -> None:
        super().__init__()
        self.minibatch_size: int = 128  # rows
        self.num_epochs: int = 10

    def training(self, **settings: Unpack[MinibatchSettings]) -> Self:
        """Set hyperparameters. A schedule is `[[env_step, value], ...]`."""
        return self._set("training", self.training_settings, settings)

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.minibatch_size > self.train_batch_size:
            problems.append(
                f"training: minibatch_size ({self.minibatch_size}) is larger than "
                f"train_batch_size ({self.train_batch_size})"
            )
        return problems

    @property
    def rows_of_a_step(self) -> int:
        """About how many rows an optimizer step takes."""
        return self.minibatch_size
