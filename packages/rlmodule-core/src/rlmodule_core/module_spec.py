"""The recipe of one module: which class, for which spaces, with which settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import gymnasium as gym

from rlmodule_core.module_config import RLModuleConfig

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass
    from rlmodule_core.module import RLModule


@dataclass(kw_only=True)
class SingleAgentRLModuleSpec:
    """A recipe; what is None is filled in by whoever knows better (the algorithm, the environment)."""

    module_class: type[RLModule] | None = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    model_config_dict: dict[str, Any] | None = None
    catalog_class: CatalogClass | None = None

    def build(self) -> RLModule:
        """Build the module. Raises ValueError that names every missing field."""
        missing = self.missing_fields()
        if missing or self.module_class is None:
            raise ValueError(
                f"SingleAgentRLModuleSpec.build: {', '.join(missing)} not set; pass them to the spec, or "
                "give the spec to an algorithm's config, which fills in what the environment tells"
            )
        return self.module_class(self.get_rl_module_config())

    def missing_fields(self) -> list[str]:
        """Return the names of the fields that `build` needs and that are not set."""
        required = ("module_class", "observation_space", "action_space", "model_config_dict")
        return [name for name in required if getattr(self, name) is None]

    def get_rl_module_config(self) -> RLModuleConfig:
        """Return what the module's constructor gets."""
        return RLModuleConfig(
            observation_space=self.observation_space,
            action_space=self.action_space,
            model_config_dict=dict(self.model_config_dict or {}),
            catalog_class=self.catalog_class,
        )

    def update(self, other: SingleAgentRLModuleSpec) -> Self:
        """Take over every field that `other` sets (also to an empty dict); in place, returns itself."""
        if not isinstance(other, SingleAgentRLModuleSpec):
            raise ValueError(f"update: expected a SingleAgentRLModuleSpec, got {type(other).__name__}")
        for field in fields(self):
            value = getattr(other, field.name)
            if value is not None:
                setattr(self, field.name, value)
        return self

    @classmethod
    def from_module(cls, module: RLModule) -> SingleAgentRLModuleSpec:
        """Return the recipe that a module was built from."""
        if module.config is None:
            raise ValueError(f"{type(module).__name__} was built with config=None, so it has no recipe")
        config = module.config
        return cls(
            module_class=type(module),
            observation_space=config.observation_space,
            action_space=config.action_space,
            model_config_dict=dict(config.model_config_dict),
            catalog_class=config.catalog_class,
        )
