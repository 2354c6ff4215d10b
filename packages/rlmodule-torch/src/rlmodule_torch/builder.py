"""Model configs -> torch layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from rlmodule_core import (
    ActorCriticEncoderConfig,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    DistributionConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
)
from rlmodule_core.parametric_distribution import DistributionMaker, distribution_maker
from rlmodule_torch.convolution import TorchCNNEncoder
from rlmodule_torch.distributions import DISTRIBUTIONS
from rlmodule_torch.layers import (
    TorchActorCriticEncoder,
    TorchFreeLogStdHead,
    TorchMLPEncoder,
    TorchMLPHead,
)
from rlmodule_torch.observations import (
    TorchComplexEncoder,
    TorchEmbeddingEncoder,
    TorchFlattenEncoder,
    TorchNormalizer,
    TorchOneHotEncoder,
)
from rlmodule_torch.recurrent import TorchRecurrentEncoder

LAYERS: dict[type[ModelConfig], Callable[[Any], nn.Module]] = {
    ActorCriticEncoderConfig: TorchActorCriticEncoder,
    CNNEncoderConfig: TorchCNNEncoder,
    ComplexEncoderConfig: TorchComplexEncoder,
    EmbeddingEncoderConfig: TorchEmbeddingEncoder,
    FlattenEncoderConfig: TorchFlattenEncoder,
    FreeLogStdHeadConfig: TorchFreeLogStdHead,
    MLPEncoderConfig: TorchMLPEncoder,
    MLPHeadConfig: TorchMLPHead,
    NormalizerConfig: TorchNormalizer,
    OneHotEncoderConfig: TorchOneHotEncoder,
    RecurrentEncoderConfig: TorchRecurrentEncoder,
}
"""Class of a config -> the layer that it is handed to. A subclass gets its nearest base's."""


def build(config: ModelConfig) -> nn.Module:
    """Return the layer that a model config describes. Raises TypeError for an unknown config."""
    for cls in type(config).__mro__:
        if cls in LAYERS:
            return LAYERS[cls](config)
    raise TypeError(
        f"{type(config).__name__} is not known to rlmodule_torch: give the class its own build(framework)"
    )


def build_distribution(config: DistributionConfig) -> DistributionMaker[Tensor]:
    """Return the function from `inputs` to the distribution that the config describes."""
    return distribution_maker(config, DISTRIBUTIONS)
