"""The bases of the torch distributions. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

from torch import Tensor

from rlmodule_core import Distribution
from rlmodule_core.parametric_distribution import ParametricDistribution


class TorchDistribution(Distribution[Tensor]):
    """Base of all distributions over torch tensors."""


class TorchParametric(TorchDistribution, ParametricDistribution[Tensor]):
    """Base of those that are flat inputs and settings."""
