"""From gymnasium spaces to network architectures, as data."""

from rlmodule_catalogs.__about__ import __version__
from rlmodule_catalogs.catalog import Catalog, action_dist_config, encoder_config
from rlmodule_catalogs.model_settings import ModelSettings, model_settings
from rlmodule_catalogs.ppo_catalog import PPOCatalog

__all__ = [
    "Catalog",
    "ModelSettings",
    "PPOCatalog",
    "__version__",
    "action_dist_config",
    "encoder_config",
    "model_settings",
]
