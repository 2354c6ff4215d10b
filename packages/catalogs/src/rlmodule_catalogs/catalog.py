"""From spaces to model configs. Each method is one decision and can be overridden alone."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlmodule_catalogs.action_masks import has_action_mask, without_action_mask
from rlmodule_catalogs.idle_settings import idle_settings
from rlmodule_catalogs.leaf_encoders import leaf_encoder_config
from rlmodule_catalogs.model_settings import ModelSettings, model_settings
from rlmodule_catalogs.observation_encoders import encoder_config, normalizer_config
from rlmodule_core import (
    ActorCriticEncoderConfig,
    Buildable,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPHeadConfig,
    NormalizerConfig,
    distribution_config,
)
from rlmodule_core.encoder_configs import LeafPath
from rlmodule_core.model_config import output_dim
from rlmodule_core.module_config import AnySpace
from rlmodule_core.nest import leaves

DECISIONS = (
    "get_normalizer_config",
    "get_actor_critic_encoder_config",
    "get_encoder_config",
    "get_leaf_encoder_config",
    "get_action_dist_config",
    "get_pi_head_config",
    "get_vf_head_config",
)
GAUSSIANS = ("DiagGaussian", "SquashedGaussian")
POLICY_GAIN = 0.01  # the first policy is nearly uniform
VALUE_GAIN = 1.0


class Catalog:
    """Decides the architecture of an actor-critic module from its spaces and settings.

    Raises ValueError at construction for settings that are unknown, ill-typed, contradict each other or
    would have no effect, and UnsupportedSpaceError from the method that meets a space it cannot handle.
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
        self._refuse_idle_settings()

    def _refuse_idle_settings(self) -> None:
        ours = __name__.partition(".")[0]
        decided = [name for name in DECISIONS if getattr(type(self), name).__module__.startswith(f"{ours}.")]
        told = idle_settings(self.settings, self.observation_space, self.action_space, decided=decided)
        if told:
            raise ValueError(f"model_config_dict: without effect, leave out: {'; '.join(told)}")

    @property
    def masks_actions(self) -> bool:
        """Whether observations bring an `action_mask`, which is not encoded but forbids actions.

        Raises ValueError for a mask that does not belong to these actions.
        """
        return has_action_mask(self.observation_space, self.action_space)

    @property
    def encoded_space(self) -> AnySpace:
        """The observation space without its mask: what is encoded and normalised."""
        return without_action_mask(self.observation_space) if self.masks_actions else self.observation_space

    def get_normalizer_config(self) -> NormalizerConfig | None:
        """Choose what is normalised by its running mean and deviation; None: nothing."""
        return normalizer_config(self.encoded_space, self.settings)

    def get_encoder_config(self) -> Buildable:
        """Choose the encoder of one observation, memory included; see `docs/spaces-to-networks.md`."""
        return encoder_config(self.encoded_space, self.settings, self.get_leaf_encoder_config)

    def get_leaf_encoder_config(self, path: LeafPath, space: AnySpace) -> Buildable:
        """Choose the encoder of the leaf at `path`: keys of dicts, positions in tuples; () is the whole."""
        return leaf_encoder_config(path, space, self.settings)

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
        return pi_head_config(self.latent_dim, distribution, self.settings)

    def get_vf_head_config(self) -> Buildable:
        """Choose the head that gives the value of a state."""
        return vf_head_config(self.latent_dim, self.settings)

    @property
    def latent_dim(self) -> int:
        """The size of what the heads get: `output_dim` of the encoder's config, or of its `base`."""
        config = self.get_actor_critic_encoder_config()
        return output_dim(config if hasattr(config, "output_dim") else getattr(config, "base", config))


def action_dist_config(space: gym.Space[Any] | None, settings: ModelSettings) -> DistributionConfig:
    """Choose the default distribution of an action space.

    >>> action_dist_config(gym.spaces.MultiDiscrete([2, 3]), ModelSettings()).input_dim
    5
    """
    return distribution_config(space, squash=settings.squash_actions)


def pi_head_config(
    input_dim: int, distribution: DistributionConfig, settings: ModelSettings
) -> MLPHeadConfig:
    """Choose the policy head for a distribution.

    >>> three = action_dist_config(gym.spaces.Discrete(3), ModelSettings())
    >>> pi_head_config(8, three, ModelSettings()).output_dim
    3
    """
    free_log_std = settings.free_log_std and distribution.kind in GAUSSIANS
    nested = leaves(distribution.parts) if distribution.kind == "MultiDistribution" else []
    if settings.free_log_std and any(part.kind in GAUSSIANS for part in nested):
        raise ValueError(
            f"model_config_dict: free_log_std needs an action space that is one Box, got "
            f"{distribution.space}; leave it out, or override get_pi_head_config"
        )
    return (FreeLogStdHeadConfig if free_log_std else MLPHeadConfig)(
        input_dim=input_dim,
        output_dim=distribution.input_dim,
        hidden=settings.post_fcnet_hiddens,
        activation=settings.post_fcnet_activation,
        initializer=settings.initializer,
        gain=POLICY_GAIN,
    )


def vf_head_config(input_dim: int, settings: ModelSettings) -> MLPHeadConfig:
    """Choose the value head.

    >>> vf_head_config(8, ModelSettings()).output_dim
    1
    """
    return MLPHeadConfig(
        input_dim=input_dim,
        output_dim=1,
        hidden=settings.post_fcnet_hiddens,
        activation=settings.post_fcnet_activation,
        initializer=settings.initializer,
        gain=VALUE_GAIN,
    )
