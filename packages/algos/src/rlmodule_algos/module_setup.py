"""From a config and an environment's spaces to modules.

What the user's spec says goes first, then the algorithm's config, then what the environment tells.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.settings import ConfigError, thawed
from rlmodule_core import (
    DEFAULT_MODULE_ID,
    MultiAgentRLModule,
    MultiAgentRLModuleSpec,
    SingleAgentRLModuleSpec,
    initial_weights_from,
)
from rlmodule_core.catalog_protocol import CatalogClass


def build_modules(
    config: AlgorithmConfig,
    *,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
    default_module_class: type,
    default_catalog_class: CatalogClass,
    seed: int,
) -> MultiAgentRLModule:
    """Build the module of a single-agent environment, under the id `default_policy`.

    Raises ConfigError if a spec is for another id or another framework.
    """
    known = SingleAgentRLModuleSpec(
        module_class=default_module_class,
        observation_space=observation_space,
        action_space=action_space,
        model_config_dict=thawed(config.model),
        catalog_class=default_catalog_class,
    )
    given = config.rl_module_spec
    if not isinstance(given, MultiAgentRLModuleSpec):
        given = MultiAgentRLModuleSpec(module_specs=given or SingleAgentRLModuleSpec())
    spec = given.filled_in({DEFAULT_MODULE_ID: known})
    for module_id, module_spec in spec.modules.items():
        module_class = module_spec.module_class
        framework = getattr(module_class, "framework", None)
        if framework != config.framework_name:
            raise ConfigError(
                f"rl_module: {module_id}: {getattr(module_class, '__name__', module_class)} is a module of "
                f"framework {framework!r}, but the config says framework({config.framework_name!r})"
            )
    with initial_weights_from(seed):
        return spec.build()
