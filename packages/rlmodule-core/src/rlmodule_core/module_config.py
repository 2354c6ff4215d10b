"""What a module is built from: spaces, model settings, and the catalog that decides between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from rlmodule_core.spaces import Json, space_from_dict, space_to_dict

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass, CatalogProtocol


@dataclass(kw_only=True)
class RLModuleConfig:
    """The one argument of an RLModule's constructor."""

    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    model_config_dict: dict[str, Any] = field(default_factory=dict)
    catalog_class: CatalogClass | None = None

    def get_catalog(self) -> CatalogProtocol:
        """Return the catalog for these spaces. Raises ValueError if no class or no space is set."""
        missing = [
            name
            for name in ("catalog_class", "observation_space", "action_space")
            if getattr(self, name) is None
        ]
        if missing or self.catalog_class is None:
            raise ValueError(
                f"RLModuleConfig.get_catalog: {', '.join(missing)} not set; a module that builds its own "
                "layers needs no catalog, one of the default modules does: pass catalog_class=PPOCatalog, say"
            )
        return self.catalog_class(self.observation_space, self.action_space, self.model_config_dict)

    def to_dict(self) -> dict[str, Json]:
        """Return JSON data. The catalog is a class, so only its name is written, for the reader."""
        catalog = self.catalog_class
        return {
            "observation_space": _optional(space_to_dict, self.observation_space),
            "action_space": _optional(space_to_dict, self.action_space),
            "model_config_dict": dict(self.model_config_dict),
            "catalog_class": None if catalog is None else f"{catalog.__module__}:{catalog.__qualname__}",
        }

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Json], *, catalog_class: CatalogClass | None = None
    ) -> RLModuleConfig:
        """Return the config that `to_dict` wrote; the caller passes the catalog's class.

        A name in a file is never imported. Raises ValueError if the data was not written by `to_dict`.
        """
        wanted = {"observation_space", "action_space", "model_config_dict", "catalog_class"}
        if set(data) != wanted:
            raise ValueError(
                f"RLModuleConfig.from_dict: expected the keys {sorted(wanted)}, got {sorted(data)}"
            )
        if not isinstance(data["model_config_dict"], dict):
            raise ValueError("RLModuleConfig.from_dict: model_config_dict: expected a dict")
        return cls(
            observation_space=_optional(space_from_dict, data["observation_space"]),
            action_space=_optional(space_from_dict, data["action_space"]),
            model_config_dict=dict(data["model_config_dict"]),
            catalog_class=catalog_class,
        )


def _optional(function: Any, value: Any) -> Any:
    return None if value is None else function(value)
