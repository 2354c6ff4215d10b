"""Nested distributions, and all of them by kind."""

from __future__ import annotations

import torch
from torch import Tensor

from rlmodule_core import NumpyMultiDistribution
from rlmodule_core.parametric_distribution import Classes, MultiDistribution
from rlmodule_torch.arrays import as_array
from rlmodule_torch.distributions.base import TorchParametric
from rlmodule_torch.distributions.bernoulli import TorchBernoulli
from rlmodule_torch.distributions.categorical import TorchCategorical, TorchMultiCategorical
from rlmodule_torch.distributions.deterministic import TorchDeterministic
from rlmodule_torch.distributions.gaussian import TorchDiagGaussian, TorchSquashedGaussian


class TorchMultiDistribution(MultiDistribution[Tensor], TorchParametric):
    """Independent parts over the leaves of a nest; see `MultiDistribution`."""

    kind = "MultiDistribution"

    @classmethod
    def _classes(cls) -> Classes:
        return DISTRIBUTIONS

    def _split(self, inputs: Tensor, sizes: list[int]) -> list[Tensor]:
        return list(torch.split(inputs, sizes, dim=-1))

    def to_numpy(self) -> NumpyMultiDistribution | None:
        """Return the same distribution over NumPy arrays, or None if a part has no such form."""
        parts = self._numpy_parts()
        return None if parts is None else NumpyMultiDistribution(as_array(self.inputs), parts=parts)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the mode of each part."""
        return TorchDeterministic(self._modes())


DISTRIBUTIONS: dict[str, type[TorchParametric]] = {
    cls.kind: cls
    for cls in (
        TorchBernoulli,
        TorchCategorical,
        TorchDeterministic,
        TorchDiagGaussian,
        TorchMultiCategorical,
        TorchMultiDistribution,
        TorchSquashedGaussian,
    )
}
