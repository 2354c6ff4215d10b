"""Model configs -> TensorFlow layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from rlmodule_core import (
    ActorCriticEncoderConfig,
    Distribution,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    ModelConfig,
)
from rlmodule_tf.distributions import TfCategorical, TfDeterministic, TfDiagGaussian
from rlmodule_tf.layers import (
    TfActorCriticEncoder,
    TfFreeLogStdHead,
    TfMLPEncoder,
    TfMLPHead,
)

_DISTRIBUTIONS: dict[str, Any] = {
    "Categorical": TfCategorical,
    "DiagGaussian": TfDiagGaussian,
    "Deterministic": TfDeterministic,
}


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


def build_distribution(config: DistributionConfig) -> Callable[[tf.Tensor], Distribution[tf.Tensor]]:
    """Return the function from `inputs` to the distribution that the config describes."""
    return partial(_DISTRIBUTIONS[config.kind].from_inputs, space=config.space)
