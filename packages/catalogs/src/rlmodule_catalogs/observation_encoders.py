"""Which encoder a whole observation gets: its leaves', joined, and memory if it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium import spaces

from rlmodule_catalogs.leaf_encoders import is_image, is_vector_of_numbers, leaf_encoder_config
from rlmodule_catalogs.model_settings import ModelSettings
from rlmodule_catalogs.observation_leaves import observation_leaves
from rlmodule_core import (
    Buildable,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    NormalizerConfig,
    RecurrentEncoderConfig,
)
from rlmodule_core.encoder_configs import LeafPath
from rlmodule_core.model_config import output_dim

LeafChooser: TypeAlias = Callable[[LeafPath, Any], Buildable]
"""From a leaf's path and space to its encoder."""


def encoder_config(
    space: gym.Space[Any] | None, settings: ModelSettings, choose_leaf: LeafChooser | None = None
) -> Buildable:
    """Choose the encoder of an observation space; `choose_leaf` stands in for `leaf_encoder_config`.

    Raises UnsupportedSpaceError that names the leaf, and ValueError for `conv_filters` without an image.

    >>> encoder_config(spaces.Box(-1.0, 1.0, (4,)), ModelSettings(fcnet_hiddens=(64,))).hidden
    (64,)
    """
    choose = choose_leaf or partial(leaf_encoder_config, settings=settings)
    found = observation_leaves(space)
    leaves = tuple((path, choose(path, leaf)) for path, leaf in found)
    images = [_seen_as_image(leaf, config) for (_, leaf), (_, config) in zip(found, leaves, strict=True)]
    if settings.conv_filters is not None and not any(images):
        raise ValueError(
            "model_config_dict: conv_filters: no part of the observation is encoded as an image (a Box of "
            f"rank 3 with sides of 5 or more), got {space}; leave them out, or override "
            "Catalog.get_leaf_encoder_config to return a CNNEncoderConfig for a part"
        )
    return _with_memory(_joined(space, leaves, settings), settings)


def normalizer_config(space: gym.Space[Any] | None, settings: ModelSettings) -> NormalizerConfig | None:
    """Choose which leaves are normalised: every Box of floats, if `normalize_observations` asks for it.

    Raises ValueError if there is none.

    >>> asked = ModelSettings(normalize_observations=True)
    >>> normalizer_config(spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (3,))]), asked).leaves
    (((1,), (3,)),)
    """
    if not settings.normalize_observations:
        return None
    floats = tuple(
        (path, tuple(leaf.shape))
        for path, leaf in observation_leaves(space)
        if isinstance(leaf, spaces.Box) and leaf.dtype is not None and leaf.dtype.kind == "f"
    )
    if not floats:
        raise ValueError(
            f"model_config_dict: normalize_observations: no part of the observation is a Box of floats, "
            f"got {space}; leave it out"
        )
    return NormalizerConfig(leaves=floats, clip=float(settings.observation_clip))


def _joined(
    space: gym.Space[Any] | None, leaves: tuple[tuple[LeafPath, Buildable], ...], settings: ModelSettings
) -> Buildable:
    """A vector of numbers needs no leaf encoder, and an image alone no dense layers behind its own."""
    path, first = leaves[0]
    if path == () and _seen_as_image(space, first):
        return first
    if isinstance(space, spaces.Box) and first == _untouched(space):
        return _mlp(output_dim(first), settings)
    fusion = _mlp(sum(output_dim(config) for _, config in leaves), settings)
    return ComplexEncoderConfig(leaves=leaves, fusion=fusion if fusion.hidden else None)


def _seen_as_image(space: gym.Space[Any] | None, config: Buildable) -> bool:
    """Whether a leaf is encoded as an image: by convolutions, or, if it is one, by a config of a user's."""
    return isinstance(config, CNNEncoderConfig) or (
        is_image(space) and not isinstance(config, FlattenEncoderConfig)
    )


def _untouched(space: spaces.Box) -> FlattenEncoderConfig | None:
    """Return the leaf encoder of a vector of numbers, which does nothing; None for any other Box."""
    return FlattenEncoderConfig(shape=space.shape) if is_vector_of_numbers(space) else None


def _mlp(input_dim: int, settings: ModelSettings) -> MLPEncoderConfig:
    latent = settings.encoder_latent_dim
    return MLPEncoderConfig(
        input_dim=input_dim,
        hidden=settings.fcnet_hiddens + (() if latent is None else (latent,)),
        activation=settings.fcnet_activation,
        layer_norm=settings.fcnet_layer_norm,
        initializer=settings.initializer,
    )


def _with_memory(base: Buildable, settings: ModelSettings) -> Buildable:
    if not (settings.use_lstm or settings.use_gru):
        return base
    return RecurrentEncoderConfig(
        base=base,
        cell="lstm" if settings.use_lstm else "gru",
        hidden_dim=settings.lstm_cell_size,
        forget_bias=float(settings.lstm_forget_bias),
        initializer=settings.initializer,
        burn_in=settings.burn_in,
    )
