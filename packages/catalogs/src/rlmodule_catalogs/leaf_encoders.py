"""Which encoder one leaf of an observation gets.

space                                   encoder
Box, an image                           CNNEncoderConfig
Box of any other shape; MultiBinary     FlattenEncoderConfig
Discrete, MultiDiscrete                 OneHotEncoderConfig, or EmbeddingEncoderConfig for many classes
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlmodule_catalogs.conv_filters import SMALLEST_SIDE, default_conv_layers, require_fit
from rlmodule_catalogs.model_settings import ModelSettings
from rlmodule_catalogs.observation_leaves import unsupported_observation
from rlmodule_core import (
    CNNEncoderConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    ModelConfig,
    OneHotEncoderConfig,
)
from rlmodule_core.encoder_configs import LeafPath
from rlmodule_core.observation_parts import path_text


def leaf_encoder_config(path: LeafPath, space: gym.Space[Any] | None, settings: ModelSettings) -> ModelConfig:
    """Choose the encoder of one leaf; an image that is the whole observation gets `encoder_latent_dim` here.

    Raises UnsupportedSpaceError for other spaces and empty ones, and ValueError for `conv_filters` that
    do not fit.

    >>> leaf_encoder_config(("arm",), spaces.Discrete(3, start=1), ModelSettings())
    OneHotEncoderConfig(shape=(), sizes=(3,), start=(1,))
    """
    match space:
        case spaces.Box() if is_image(space):
            return _cnn(path, space, settings)
        case spaces.Box() if math.prod(space.shape):
            return FlattenEncoderConfig(shape=space.shape, scale=_scale(space))
        case spaces.MultiBinary() if math.prod(space.shape):
            return FlattenEncoderConfig(shape=tuple(space.shape))
        case spaces.Discrete():
            return _classes((), (int(space.n),), (int(space.start),), settings)
        case spaces.MultiDiscrete() if space.nvec.size:
            sizes, start = space.nvec.ravel().tolist(), space.start.ravel().tolist()
            return _classes(tuple(space.nvec.shape), tuple(sizes), tuple(start), settings)
    raise unsupported_observation(space, path, method="get_leaf_encoder_config")


def is_image(space: gym.Space[Any] | None) -> bool:
    """Say whether a space is a Box of images, `[height, width, channels]` or `[channels, height, width]`.

    Both sides are at least 5. Channels stand first if that size is smaller than both others, else last.

    >>> is_image(spaces.Box(0, 255, (84, 84, 3))), is_image(spaces.Box(0, 255, (4, 84, 3)))
    (True, False)
    """
    match space:
        case spaces.Box(shape=(_, _, _) as shape) if min(shape) > 0:
            height, width, _ = _channels_last(shape)
            return min(height, width) >= SMALLEST_SIDE
    return False


def is_vector_of_numbers(space: spaces.Box) -> bool:
    """Say whether a Box has rank 1 and numbers that are taken as they are: no bytes, no bits."""
    return len(space.shape) == 1 and space.dtype not in (np.uint8, np.bool_)


def _channels_first(shape: tuple[int, ...]) -> bool:
    return shape[0] < min(shape[1:])


def _channels_last(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, channels = (*shape[1:], shape[0]) if _channels_first(shape) else shape
    return height, width, channels


def _cnn(path: LeafPath, space: spaces.Box, settings: ModelSettings) -> CNNEncoderConfig:
    height, width, channels = _channels_last(space.shape)
    layers = settings.conv_filters
    if layers is None:
        layers = default_conv_layers((height, width))
    else:
        require_fit(layers, (height, width), where=f"observation space{path_text(path)}")
    latent = settings.encoder_latent_dim
    return CNNEncoderConfig(
        image=(height, width, channels),
        layers=layers,
        channels_first=_channels_first(space.shape),
        activation=settings.conv_activation,
        layer_norm=settings.conv_layer_norm,
        scale=_scale(space),
        hidden=(latent,) if latent is not None and path == () else (),
        initializer=settings.initializer,
    )


def _classes(
    shape: tuple[int, ...], sizes: tuple[int, ...], start: tuple[int, ...], settings: ModelSettings
) -> OneHotEncoderConfig | EmbeddingEncoderConfig:
    dim = settings.embedding_dim
    if dim is not None and max(sizes) > dim:
        return EmbeddingEncoderConfig(shape=shape, sizes=sizes, start=start, dim=dim)
    return OneHotEncoderConfig(shape=shape, sizes=sizes, start=start)


def _scale(space: spaces.Box) -> float:
    """Bytes become numbers from 0 to 1."""
    return 1.0 / 255.0 if space.dtype == np.uint8 else 1.0
