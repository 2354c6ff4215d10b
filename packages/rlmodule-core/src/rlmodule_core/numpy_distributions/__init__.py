"""Action distributions over NumPy arrays: what samplers draw from, and the oracle of the others."""

from rlmodule_core.numpy_distributions.base import AnyNumpyDistribution, Array, NumpyDistribution
from rlmodule_core.numpy_distributions.bernoulli import NumpyBernoulli
from rlmodule_core.numpy_distributions.categorical import (
    NumpyCategorical,
    NumpyMultiCategorical,
    mask_logits,
)
from rlmodule_core.numpy_distributions.deterministic import NumpyDeterministic
from rlmodule_core.numpy_distributions.gaussian import NumpyDiagGaussian, NumpySquashedGaussian
from rlmodule_core.numpy_distributions.multi import NumpyMultiDistribution, numpy_distribution

__all__ = [
    "AnyNumpyDistribution",
    "Array",
    "NumpyBernoulli",
    "NumpyCategorical",
    "NumpyDeterministic",
    "NumpyDiagGaussian",
    "NumpyDistribution",
    "NumpyMultiCategorical",
    "NumpyMultiDistribution",
    "NumpySquashedGaussian",
    "mask_logits",
    "numpy_distribution",
]
