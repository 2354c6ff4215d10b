"""The base of the NumPy distributions. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rlmodule_core.distribution import DistributionIn
from rlmodule_core.parametric_distribution import ParametricDistribution

Array = npt.NDArray[Any]


class AnyNumpyDistribution(DistributionIn):
    """What a NumPy module returns under `action_dist`, one of a user's own too."""

    framework = "numpy"
    wanted = "a distribution over NumPy arrays, such as NumpyCategorical(logits)"


class NumpyDistribution(ParametricDistribution[Array]):
    """A distribution that draws from the generator it is given."""

    framework = "numpy"

    _tensor = np.ndarray
    _wanted = "a NumPy array"
    _made = "np.asarray({0})"
    _joined = "np.concatenate([mean, log_std], axis=-1)"

    @classmethod
    def _is_tensor(cls, value: object) -> bool:
        return isinstance(value, (np.ndarray, np.generic))  # a scalar is an array of no axis

    def sample(self, rng: np.random.Generator | None = None) -> Array:
        """Draw one value for each batch entry, from `rng` or from fresh entropy."""
        return self._sample(np.random.default_rng() if rng is None else rng)

    def _sample(self, rng: np.random.Generator) -> Array:
        raise NotImplementedError

    def rsample(self) -> Array:
        """NumPy has no gradients, so there is nothing to carry."""
        raise NotImplementedError("NumPy arrays carry no gradient; use sample()")

    def to_numpy(self) -> Self:
        """Return itself, with whatever a subclass overrides."""
        return self

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Leave `to_numpy` alone: what an override would be hidden by does not exist here."""


def log_sigmoid(x: Array) -> Array:
    """Return log(1 / (1 + exp(-x))), exact at both ends."""
    result: Array = np.minimum(x, 0.0) - np.log1p(np.exp(-np.abs(x)))
    return result
