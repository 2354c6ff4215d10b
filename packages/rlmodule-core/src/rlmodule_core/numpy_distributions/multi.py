"""Nested distributions, and all of them by kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlmodule_core.distribution_config import DistributionConfig
from rlmodule_core.nest import Nest
from rlmodule_core.numpy_distributions.base import Array, NumpyDistribution
from rlmodule_core.numpy_distributions.bernoulli import NumpyBernoulli
from rlmodule_core.numpy_distributions.categorical import NumpyCategorical, NumpyMultiCategorical
from rlmodule_core.numpy_distributions.deterministic import NumpyDeterministic
from rlmodule_core.numpy_distributions.gaussian import NumpyDiagGaussian, NumpySquashedGaussian
from rlmodule_core.parametric_distribution import Classes, MultiDistribution, distribution_maker


class NumpyMultiDistribution(NumpyDistribution, MultiDistribution[Array]):
    """Independent parts over the leaves of a nest; see `MultiDistribution`."""

    kind = "MultiDistribution"

    @classmethod
    def _classes(cls) -> Classes:
        return DISTRIBUTIONS

    def _split(self, inputs: Array, sizes: list[int]) -> list[Array]:
        return np.split(inputs, np.cumsum(sizes)[:-1], axis=-1)

    def _sample(self, rng: np.random.Generator) -> Nest:
        drawn = [part.sample(rng) for part in self.each if isinstance(part, NumpyDistribution)]
        return self._nested(drawn)

    def to_deterministic(self) -> NumpyDeterministic:
        """Return the mode of each part."""
        return NumpyDeterministic(self._modes())


DISTRIBUTIONS: dict[str, type[NumpyDistribution]] = {
    cls.kind: cls
    for cls in (
        NumpyBernoulli,
        NumpyCategorical,
        NumpyDeterministic,
        NumpyDiagGaussian,
        NumpyMultiCategorical,
        NumpyMultiDistribution,
        NumpySquashedGaussian,
    )
}


def numpy_distribution(config: DistributionConfig) -> Callable[[Array], NumpyDistribution]:
    """Return the function from `inputs` to the NumPy distribution that the config describes."""
    make: Callable[[Array], NumpyDistribution] = distribution_maker(config, DISTRIBUTIONS)  # type: ignore[assignment]
    return make
