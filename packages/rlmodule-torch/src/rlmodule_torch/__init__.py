"""PyTorch implementation of rlmodule-core."""

from rlmodule_torch.__about__ import __version__
from rlmodule_torch.actor_critic import TorchActorCriticModule
from rlmodule_torch.distributions import (
    TorchCategorical,
    TorchDeterministic,
    TorchDiagGaussian,
    TorchDistribution,
    TorchNative,
    as_distribution,
)
from rlmodule_torch.layers import (
    TorchActorCriticEncoder,
    TorchFreeLogStdHead,
    TorchMLPEncoder,
    TorchMLPHead,
)
from rlmodule_torch.masking import constant, masked_mean, require_same_shape, squared_error, zero_padding
from rlmodule_torch.module import TorchRLModule
from rlmodule_torch.updater import TorchUpdater

__all__ = [
    "TorchActorCriticEncoder",
    "TorchActorCriticModule",
    "TorchCategorical",
    "TorchDeterministic",
    "TorchDiagGaussian",
    "TorchDistribution",
    "TorchFreeLogStdHead",
    "TorchMLPEncoder",
    "TorchMLPHead",
    "TorchNative",
    "TorchRLModule",
    "TorchUpdater",
    "__version__",
    "as_distribution",
    "constant",
    "masked_mean",
    "require_same_shape",
    "squared_error",
    "zero_padding",
]
