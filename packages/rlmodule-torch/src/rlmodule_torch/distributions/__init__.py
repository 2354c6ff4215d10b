"""Action distributions over torch tensors."""

from rlmodule_torch.distributions.base import TorchDistribution
from rlmodule_torch.distributions.bernoulli import TorchBernoulli
from rlmodule_torch.distributions.categorical import (
    TorchCategorical,
    TorchMultiCategorical,
    mask_logits,
)
from rlmodule_torch.distributions.deterministic import TorchDeterministic
from rlmodule_torch.distributions.gaussian import TorchDiagGaussian, TorchSquashedGaussian
from rlmodule_torch.distributions.multi import DISTRIBUTIONS, TorchMultiDistribution
from rlmodule_torch.distributions.native import TorchNative, as_distribution

__all__ = [
    "DISTRIBUTIONS",
    "TorchBernoulli",
    "TorchCategorical",
    "TorchDeterministic",
    "TorchDiagGaussian",
    "TorchDistribution",
    "TorchMultiCategorical",
    "TorchMultiDistribution",
    "TorchNative",
    "TorchSquashedGaussian",
    "as_distribution",
    "mask_logits",
]
