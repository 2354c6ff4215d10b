"""The one place where a framework is chosen by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from rlmodule_core import Distribution, RLModule, framework_module
from rlmodule_core.nest import Nest


class Updater(Protocol):
    """One gradient step at a time on one module."""

    def step(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> Any:
        """Take one step; returns (loss tuple, gradient norm, whether it was applied)."""

    def gradient(
        self, batch: Mapping[str, Any], coefficients: Mapping[str, float]
    ) -> tuple[Any, npt.NDArray[Any]]:
        """Return the loss tuple and its gradient `[P]`, both as NumPy, and change nothing."""

    def apply(self, gradient: npt.NDArray[Any], lr: float) -> tuple[Any, bool]:
        """Take one step against a gradient; returns (gradient norm, whether it was applied)."""

    def get_weights(self) -> npt.NDArray[Any]: ...  # noqa: D102
    def set_weights(self, weights: npt.NDArray[Any]) -> None: ...  # noqa: D102
    def get_state(self) -> dict[str, Any]: ...  # noqa: D102
    def set_state(self, state: Mapping[str, Any]) -> None: ...  # noqa: D102


class Bridge(Protocol):
    """Between NumPy and one framework's tensors: the module `rlmodule_<framework>.bridge`."""

    def to_tensors(self, nest: Nest, device: Any = None) -> Nest: ...  # noqa: D102
    def to_numpy(self, nest: Nest) -> Nest: ...  # noqa: D102
    def take(self, columns: Mapping[str, Nest], indices: npt.NDArray[np.int64]) -> dict[str, Nest]: ...  # noqa: D102
    def mean_of(self, results: Sequence[Sequence[Any]]) -> list[float]: ...  # noqa: D102
    def call(self, module: RLModule, forward: str, batch: Mapping[str, Any]) -> Mapping[str, Any]: ...  # noqa: D102
    def as_distribution(self, value: object) -> Distribution[Any]: ...  # noqa: D102
    def seed(self, number: int) -> None: ...  # noqa: D102
    def on_device(self, device: str) -> AbstractContextManager[None]: ...  # noqa: D102
    def no_grad(self) -> AbstractContextManager[None]: ...  # noqa: D102
    def threads(self, count: int | None) -> AbstractContextManager[None]: ...  # noqa: D102


class Framework:
    """What the algorithms use of one framework, and the framework's half of each algorithm."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bridge = cast(Bridge, framework_module(name, "bridge"))

    def make_updater(self, module: RLModule, loss_function: Any, **settings: Any) -> Updater:
        """Return the framework's updater of one module."""
        updater: Updater = framework_module(self.name, "updater").make_updater(
            module, loss_function, **settings
        )
        return updater

    def algorithm_part(self, algorithm: str, part: str) -> ModuleType:
        """Import `rlmodule_algos.<algorithm>.<part>_<framework>`, such as `ppo.loss_torch`.

        Raises ImportError where the algorithm has no such half.
        """
        name = f"rlmodule_algos.{algorithm}.{part}_{self.name}"
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):  # something that it imports is missing
                raise
            raise ImportError(
                f"{algorithm}: this version of rlmodule-algos has no {part} for framework({self.name!r})",
                name=name,
            ) from None
