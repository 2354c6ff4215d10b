"""Model configs -> torch layers."""

from __future__ import annotations

from torch import Tensor, nn

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
)
from rlmodule_core.parametric_distribution import DistributionMaker, distribution_maker
from rlmodule_torch.distributions import DISTRIBUTIONS
from rlmodule_torch.layers import (
    TorchActorCriticEncoder,
    TorchFreeLogStdHead,
    TorchMLPEncoder,
    TorchMLPHead,
)


def build(config: ModelConfig) -> nn.Module:
    """Return the layer that a model config describes. Raises TypeError for an unknown config."""
    match config:
        case MLPEncoderConfig():
            return TorchMLPEncoder(config.input_dim, config.hidden, config.activation, config.gain)
        case ActorCriticEncoderConfig():
            critic = None if config.shared else config.base.build("torch")
            return TorchActorCriticEncoder(config.base.build("torch"), critic)
        case FreeLogStdHeadConfig():
            return TorchFreeLogStdHead(
                config.input_dim, config.output_dim, config.hidden, config.activation, config.gain
            )
        case MLPHeadConfig():
            return TorchMLPHead(
                config.input_dim, config.output_dim, config.hidden, config.activation, config.gain
            )
    raise TypeError(
        f"{type(config).__name__} is not known to rlmodule_torch: give the class its own build(framework)"
    )


def build_distribution(config: DistributionConfig) -> DistributionMaker[Tensor]:
    """Return the function from `inputs` to the distribution that the config describes."""
    return distribution_maker(config, DISTRIBUTIONS)
