"""PyTorch implementation of rlmodule-core."""

from rlmodule_torch.__about__ import __version__
from rlmodule_torch.actor_critic import TorchActorCriticModule, TorchActorModule
from rlmodule_torch.convolution import TorchCNNEncoder
from rlmodule_torch.distributions import (
    TorchBernoulli,
    TorchCategorical,
    TorchDeterministic,
    TorchDiagGaussian,
    TorchDistribution,
    TorchMultiCategorical,
    TorchMultiDistribution,
    TorchNative,
    TorchSquashedGaussian,
    as_distribution,
    mask_logits,
)
from rlmodule_torch.layers import (
    TorchActorCriticEncoder,
    TorchFreeLogStdHead,
    TorchMLPEncoder,
    TorchMLPHead,
)
from rlmodule_torch.masking import constant, masked_mean, require_same_shape, squared_error, zero_padding
from rlmodule_torch.module import TorchRLModule
from rlmodule_torch.multi_agent import TorchMultiAgentRLModule
from rlmodule_torch.observations import (
    TorchComplexEncoder,
    TorchEmbeddingEncoder,
    TorchFlattenEncoder,
    TorchNormalizer,
    TorchOneHotEncoder,
)
from rlmodule_torch.recurrent import TorchRecurrentEncoder
from rlmodule_torch.updater import TorchUpdater

__all__ = [
    "TorchActorCriticEncoder",
    "TorchActorCriticModule",
    "TorchActorModule",
    "TorchBernoulli",
    "TorchCNNEncoder",
    "TorchCategorical",
    "TorchComplexEncoder",
    "TorchDeterministic",
    "TorchDiagGaussian",
    "TorchDistribution",
    "TorchEmbeddingEncoder",
    "TorchFlattenEncoder",
    "TorchFreeLogStdHead",
    "TorchMLPEncoder",
    "TorchMLPHead",
    "TorchMultiAgentRLModule",
    "TorchMultiCategorical",
    "TorchMultiDistribution",
    "TorchNative",
    "TorchNormalizer",
    "TorchOneHotEncoder",
    "TorchRLModule",
    "TorchRecurrentEncoder",
    "TorchSquashedGaussian",
    "TorchUpdater",
    "__version__",
    "as_distribution",
    "constant",
    "mask_logits",
    "masked_mean",
    "require_same_shape",
    "squared_error",
    "zero_padding",
]
