"""Model configs -> TensorFlow layers."""

from __future__ import annotations

import tensorflow as tf

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
)
from rlmodule_core.parametric_distribution import DistributionMaker, distribution_maker
from rlmodule_tf.distributions import DISTRIBUTIONS
from rlmodule_tf.layers import (
    TfActorCriticEncoder,
    TfFreeLogStdHead,
    TfMLPEncoder,
    TfMLPHead,
)


def build(config: ModelConfig) -> tf.Module:
    """Return the layer that a model config describes. Raises TypeError for an unknown config."""
    match config:
        case MLPEncoderConfig():
            return TfMLPEncoder(config.input_dim, config.hidden, config.activation, config.gain)
        case ActorCriticEncoderConfig():
            critic = None if config.shared else config.base.build("tf")
            return TfActorCriticEncoder(config.base.build("tf"), critic)
        case FreeLogStdHeadConfig():
            return TfFreeLogStdHead(
                config.input_dim, config.output_dim, config.hidden, config.activation, config.gain
            )
        case MLPHeadConfig():
            return TfMLPHead(
                config.input_dim, config.output_dim, config.hidden, config.activation, config.gain
            )
    raise TypeError(
        f"{type(config).__name__} is not known to rlmodule_tf: give the class its own build(framework)"
    )


def build_distribution(config: DistributionConfig) -> DistributionMaker[tf.Tensor]:
    """Return the function from `inputs` to the distribution that the config describes."""
    return distribution_maker(config, DISTRIBUTIONS)
