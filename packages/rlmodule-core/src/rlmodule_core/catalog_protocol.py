"""What a module asks of a catalog; the catalogs themselves are a package of their own."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym

from rlmodule_core.distribution_config import DistributionConfig
from rlmodule_core.model_config import Buildable


class CatalogProtocol(Protocol):
    """Decisions from spaces to model configs; each can be overridden alone.

    A catalog may decide more, as `rlmodule_catalogs.Catalog` does, and a module then asks for it:
    `masks_actions`, `get_normalizer_config()`, and for a module without a critic `get_encoder_config()`.
    """

    def get_actor_critic_encoder_config(self) -> Buildable: ...  # noqa: D102
    def get_pi_head_config(self) -> Buildable: ...  # noqa: D102
    def get_vf_head_config(self) -> Buildable: ...  # noqa: D102
    def get_action_dist_config(self) -> DistributionConfig: ...  # noqa: D102


class CatalogClass(Protocol):
    """A class of catalogs."""

    __module__: str
    __qualname__: str

    def __call__(  # noqa: D102
        self,
        observation_space: gym.Space[Any] | None,
        action_space: gym.Space[Any] | None,
        model_config_dict: dict[str, Any],
    ) -> CatalogProtocol: ...
