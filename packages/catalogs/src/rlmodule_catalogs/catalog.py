"""From spaces to model configs. Each method is one decision and can be overridden alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rlmodule_catalogs.model_settings import ModelSettings, model_settings
from rlmodule_core import (
    ActorCriticEncoderConfig,
    Buildable,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    UnsupportedSpaceError,
    distribution_config,
)
from rlmodule_core.module_config import AnySpace
from rlmodule_core.nest import leaves

GAUSSIANS = ("DiagGaussian", "SquashedGaussian")


class Catalog:
    """Decides the architecture of an actor-critic module from its spaces and settings.

    Raises ValueError at construction for unknown or ill-typed settings, and UnsupportedSpaceError
    from the method that meets a space it cannot handle.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any] | None,
        action_space: gym.Space[Any] | None,
        model_config_dict: dict[str, Any],
    ) -> None:
        self.observation_space: AnySpace = observation_space  # an override knows which kind
        self.action_space: AnySpace = action_space
        self.model_config_dict = model_config_dict
        self.settings: ModelSettings = model_settings(model_config_dict)

    def get_encoder_config(self) -> Buildable:
        """Choose the encoder of one observation: Box of rank 1 -> MLP."""
        return encoder_config(self.observation_space, self.settings)

    def get_actor_critic_encoder_config(self) -> Buildable:
        """Choose the encoder of actor and critic; override it to bring your own."""
        return ActorCriticEncoderConfig(base=self.get_encoder_config(), shared=self.settings.vf_share_layers)

    def get_action_dist_config(self) -> DistributionConfig:
        """Choose the action distribution; see `rlmodule_core.distribution_config` for the table."""
        return action_dist_config(self.action_space, self.settings)

    def get_pi_head_config(self) -> Buildable:
        """Choose the head that gives the action distribution's parameters.

        Raises ValueError for `free_log_std` where a Box is one of several parts.
        """
        distribution = self.get_action_dist_config()
        free_log_std = self.settings.free_log_std and distribution.kind in GAUSSIANS
        nested = leaves(distribution.parts) if distribution.kind == "MultiDistribution" else []
        if self.settings.free_log_std and any(part.kind in GAUSSIANS for part in nested):
            raise ValueError(
                f"model_config_dict: free_log_std needs an action space that is one Box, got "
                f"{distribution.space}; leave it out, or override get_pi_head_config"
            )
        return (FreeLogStdHeadConfig if free_log_std else MLPHeadConfig)(
            input_dim=self.latent_dim,
            output_dim=distribution.input_dim,
            hidden=self.settings.post_fcnet_hiddens,
            activation=self.settings.post_fcnet_activation,
            gain=0.01,  # the first policy is nearly uniform
        )

    def get_vf_head_config(self) -> Buildable:
        """Choose the head that gives the value of a state."""
        return MLPHeadConfig(
            input_dim=self.latent_dim,
            output_dim=1,
            hidden=self.settings.post_fcnet_hiddens,
            activation=self.settings.post_fcnet_activation,
        )

    @property
    def latent_dim(self) -> int:
        """The size of what the heads get: `output_dim` of the encoder's config (or of its `base`)."""
        config = self.get_actor_critic_encoder_config()
        size = getattr(getattr(config, "base", config), "output_dim", None)
        if not isinstance(size, int):
            raise ValueError(
                f"{type(config).__name__} has no output_dim, which the heads need: add an int attribute "
                "output_dim, the last size of what the encoder returns"
            )
        return size


def encoder_config(space: gym.Space[Any] | None, settings: ModelSettings) -> MLPEncoderConfig:
    """Choose the default encoder of an observation space.

    >>> encoder_config(spaces.Box(-1.0, 1.0, (4,)), ModelSettings(fcnet_hiddens=(64,))).hidden
    (64,)
    """
    match space:
        case spaces.Box(shape=(size,)):
            return MLPEncoderConfig(
                input_dim=size, hidden=settings.fcnet_hiddens, activation=settings.fcnet_activation
            )
    raise UnsupportedSpaceError(
        space,
        where="observation space",
        known="Box of rank 1",
        fix="Override Catalog.get_encoder_config to bring an encoder of your own",
    )


def action_dist_config(space: gym.Space[Any] | None, settings: ModelSettings) -> DistributionConfig:
    """Choose the default distribution of an action space.

    >>> action_dist_config(spaces.MultiDiscrete([2, 3]), ModelSettings()).input_dim
    5
    """
    return distribution_config(space, squash=settings.squash_actions)
