"""Model configs -> TensorFlow layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


LAYERS: dict[type[ModelConfig], Callable[[Any], tf.Module]] = {
    ActorCriticEncoderConfig: TfActorCriticEncoder,
    FreeLogStdHeadConfig: TfFreeLogStdHead,
    MLPEncoderConfig: TfMLPEncoder,
    MLPHeadConfig: TfMLPHead,
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
