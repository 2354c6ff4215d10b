"""From gymnasium spaces to network architectures, as data."""

from rlmodule_catalogs.__about__ import __version__
from rlmodule_catalogs.algorithm_catalogs import APPOCatalog, BCCatalog, ImpalaCatalog, PPOCatalog
from rlmodule_catalogs.catalog import Catalog, action_dist_config, pi_head_config, vf_head_config
from rlmodule_catalogs.conv_filters import default_conv_layers
from rlmodule_catalogs.leaf_encoders import leaf_encoder_config
from rlmodule_catalogs.model_settings import ModelSettings, model_settings
from rlmodule_catalogs.observation_encoders import encoder_config, normalizer_config

__all__ = [
    "APPOCatalog",
    "BCCatalog",
    "Catalog",
    "ImpalaCatalog",
    "ModelSettings",
    "PPOCatalog",
    "__version__",
    "action_dist_config",
    "default_conv_layers",
    "encoder_config",
    "leaf_encoder_config",
    "model_settings",
    "normalizer_config",
    "pi_head_config",
    "vf_head_config",
]
