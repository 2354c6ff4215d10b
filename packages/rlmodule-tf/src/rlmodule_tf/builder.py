"""Model configs -> TensorFlow layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

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
from rlmodule_tf.convolution import TfCNNEncoder
from rlmodule_tf.distributions import DISTRIBUTIONS
from rlmodule_tf.layers import (
    TfActorCriticEncoder,
    TfFreeLogStdHead,
    TfMLPEncoder,
    TfMLPHead,
)
from rlmodule_tf.observations import (
    TfComplexEncoder,
    TfEmbeddingEncoder,
    TfFlattenEncoder,
    TfNormalizer,
    TfOneHotEncoder,
)
from rlmodule_tf.recurrent import TfRecurrentEncoder

LAYERS: dict[type[ModelConfig], Callable[[Any], tf.Module]] = {
    ActorCriticEncoderConfig: TfActorCriticEncoder,
    CNNEncoderConfig: TfCNNEncoder,
    ComplexEncoderConfig: TfComplexEncoder,
    EmbeddingEncoderConfig: TfEmbeddingEncoder,
    FlattenEncoderConfig: TfFlattenEncoder,
    FreeLogStdHeadConfig: TfFreeLogStdHead,
    MLPEncoderConfig: TfMLPEncoder,
    MLPHeadConfig: TfMLPHead,
    NormalizerConfig: TfNormalizer,
    OneHotEncoderConfig: TfOneHotEncoder,
    RecurrentEncoderConfig: TfRecurrentEncoder,
}
"""Class of a config -> the layer that it is handed to. A subclass gets its nearest base's."""


def build(config: ModelConfig) -> tf.Module:
    """Return the layer that a model config describes. Raises TypeError for an unknown config."""
    for cls in type(config).__mro__:
        if cls in LAYERS:
            return LAYERS[cls](config)
    raise TypeError(
        f"{type(config).__name__} is not known to rlmodule_tf: give the class its own build(framework)"
    )


def build_distribution(config: DistributionConfig) -> DistributionMaker[tf.Tensor]:
    """Return the function from `inputs` to the distribution that the config describes."""
    return distribution_maker(config, DISTRIBUTIONS)
