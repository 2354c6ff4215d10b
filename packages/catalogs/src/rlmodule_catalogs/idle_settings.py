"""Settings that were set but would change nothing, which nobody wants: each is told with the reason."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rlmodule_catalogs.leaf_encoders import is_image
from rlmodule_catalogs.model_settings import ModelSettings
from rlmodule_catalogs.observation_leaves import space_leaves


def idle_settings(
    settings: ModelSettings,
    observation_space: gym.Space[Any] | None,
    action_space: gym.Space[Any] | None,
    *,
    decided: Collection[str],
) -> list[str]:
    """Say which settings differ from their defaults and have no effect on these spaces.

    `decided` names the methods that the catalog has as they are here: what another method may read is let
    pass, and so is what depends on a space that is not given. The dense layers, which an image alone has
    not, may be set for it all the same: their sizes are what a model of many spaces names first.

    >>> idle_settings(ModelSettings(observation_clip=2), None, None, decided=["get_normalizer_config"])
    ['observation_clip: only normalised observations are clipped, see normalize_observations']
    """
    told = _of_heads(settings) if {"get_pi_head_config", "get_vf_head_config"} <= {*decided} else {}
    if "get_normalizer_config" in decided and not settings.normalize_observations:
        told["observation_clip"] = "only normalised observations are clipped, see normalize_observations"
    if {"get_encoder_config", "get_actor_critic_encoder_config"} <= {*decided}:
        told |= _of_memory(settings)
        if "get_leaf_encoder_config" in decided and observation_space is not None:
            told |= _of_leaves(settings, observation_space)
    if "get_action_dist_config" in decided and action_space is not None:
        told |= _of_actions(action_space, heads="get_pi_head_config" in decided)
    changed = {f.name for f in fields(settings) if getattr(settings, f.name) != f.default}
    return [f"{name}: {reason}" for name, reason in told.items() if name in changed]


def _of_memory(settings: ModelSettings) -> dict[str, str]:
    if settings.use_lstm:
        return {}
    if settings.use_gru:
        return {"lstm_forget_bias": "a GRU, which use_gru asks for, has no forget gate"}
    reason = "there is no memory without use_lstm or use_gru"
    return dict.fromkeys(("lstm_cell_size", "lstm_forget_bias", "burn_in"), reason)


def _of_leaves(settings: ModelSettings, space: gym.Space[Any]) -> dict[str, str]:
    told: dict[str, str] = {}
    leaves = space_leaves(space)
    if not any(map(is_image, leaves)):
        reason = (
            f"no part of the observation is an image (a Box of rank 3 with sides of 5 or more), got {space}"
        )
        told |= dict.fromkeys(("conv_filters", "conv_activation", "conv_layer_norm"), reason)
    if not any(isinstance(leaf, (spaces.Discrete, spaces.MultiDiscrete)) for leaf in leaves):
        told["embedding_dim"] = f"no part of the observation is a Discrete or MultiDiscrete, got {space}"
    if not settings.fcnet_hiddens and settings.encoder_latent_dim is None:
        reason = "there are no dense layers where fcnet_hiddens is empty and encoder_latent_dim is not set"
        told |= dict.fromkeys(("fcnet_activation", "fcnet_layer_norm"), reason)
    return told


def _of_heads(settings: ModelSettings) -> dict[str, str]:
    if settings.post_fcnet_hiddens:
        return {}
    return {"post_fcnet_activation": "the heads have no hidden layers where post_fcnet_hiddens is empty"}


def _of_actions(space: gym.Space[Any], *, heads: bool) -> dict[str, str]:
    if any(isinstance(leaf, spaces.Box) for leaf in space_leaves(space)):
        return {}
    told = {"squash_actions": f"only Box actions have bounds to squash to, got {space}"}
    if heads:
        told["free_log_std"] = f"only Box actions are drawn from a Gaussian, got {space}"
    return told
