"""The catalogs of the algorithms' default modules."""

from __future__ import annotations

from typing import NoReturn

from rlmodule_catalogs.catalog import Catalog
from rlmodule_core.model_config import output_dim


class PPOCatalog(Catalog):
    """Decides as `Catalog` does: an encoder each for actor and critic (or one for both), and two heads."""


class ImpalaCatalog(Catalog):
    """Decides as `Catalog` does; the data of IMPALA comes in sequences with or without memory."""


class APPOCatalog(ImpalaCatalog):
    """Decides as `ImpalaCatalog` does; the target network is a second module of the same configs."""


class BCCatalog(Catalog):
    """Decides one encoder, the policy head and the distribution: cloning has no critic.

    `vf_share_layers` is accepted and means nothing here, so that one `model_config_dict` serves for
    cloning and for the algorithm that trains on. Override `get_encoder_config` to bring your own.
    """

    @property
    def latent_dim(self) -> int:
        """The size of what the policy head gets: `output_dim` of the encoder's config."""
        return output_dim(self.get_encoder_config())

    def get_actor_critic_encoder_config(self) -> NoReturn:
        """Raise ValueError: there is no critic."""
        raise _no_critic("get_actor_critic_encoder_config", instead="get_encoder_config")

    def get_vf_head_config(self) -> NoReturn:
        """Raise ValueError: there is no critic."""
        raise _no_critic("get_vf_head_config", instead="get_pi_head_config")


def _no_critic(method: str, *, instead: str) -> ValueError:
    return ValueError(
        f"BCCatalog.{method}: behaviour cloning has no critic; use {instead}, or PPOCatalog for a module "
        "that has one"
    )
