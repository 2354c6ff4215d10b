"""What a module is built from: spaces, model settings, and the catalog that decides between them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym

from rlmodule_core.class_names import class_name, resolve_class
from rlmodule_core.json_values import Json, from_json, to_json
from rlmodule_core.named_arguments import NamedArguments
from rlmodule_core.spaces import space_from_dict, space_to_dict, with_plain_sizes

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass, CatalogProtocol

AnySpace: TypeAlias = Any
"""A `gymnasium.Space`; of which kind only the module's author knows, who writes `space.shape[0]` or
`space.n` without a cast."""

AnySettings: TypeAlias = Any
"""The `dict[str, Any]` of a recipe, None while it is not set; whoever reads it knows that it is."""

SPACES = ("observation_space", "action_space")


@dataclass(kw_only=True)
class RLModuleConfig(NamedArguments):
    """The one argument of an RLModule's constructor.

    Raises ValueError for a space that is none, settings that are no mapping, and a catalog that is no class.
    """

    observation_space: AnySpace = None
    action_space: AnySpace = None
    model_config_dict: dict[str, Any] = field(default_factory=dict)
    catalog_class: CatalogClass | None = None

    def __post_init__(self) -> None:
        """Check the kinds; give `Discrete.n` as Python's int, which Keras insists on for a layer's size."""
        problems = wrong_kinds(self)
        if self.model_config_dict is None:
            problems.append("model_config_dict: expected a dict, {} for no settings, got None")
        if problems:
            raise ValueError(f"RLModuleConfig: {'; '.join(problems)}")
        self.model_config_dict = as_plain_dict(self.model_config_dict)
        self.observation_space = with_plain_sizes(self.observation_space)
        self.action_space = with_plain_sizes(self.action_space)

    def get_catalog(self) -> CatalogProtocol:
        """Return the catalog for these spaces. Raises ValueError if no class or no space is set."""
        missing = [name for name in ("catalog_class", *SPACES) if getattr(self, name) is None]
        if missing or self.catalog_class is None:
            raise ValueError(
                f"RLModuleConfig.get_catalog: {', '.join(missing)} not set; a module that builds its own "
                "layers needs no catalog, one of the default modules does: pass catalog_class=PPOCatalog, say"
            )
        return self.catalog_class(self.observation_space, self.action_space, self.model_config_dict)

    def to_dict(self) -> dict[str, Json]:
        """Return JSON data; the catalog, a class, is written by name.

        Raises ValueError (UnsupportedSpaceError for a space) that names what has no such form.
        """
        if lost := lost_fields(self):
            raise ValueError(
                f"{type(self).__name__}.to_dict: {', '.join(lost)}: no fields of an RLModuleConfig"
            )
        return {
            **{name: _optional(space_to_dict, getattr(self, name)) for name in SPACES},
            "model_config_dict": to_json(self.model_config_dict, "model_config_dict"),
            "catalog_class": _optional(class_name, self.catalog_class),
        }

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Json],
        *,
        catalog_class: CatalogClass | None = None,
        trusted_packages: Collection[str] = (),
    ) -> RLModuleConfig:
        """Return the config that `to_dict` wrote.

        The catalog is `catalog_class`, or the class that is named if that is ours, registered, or in
        one of `trusted_packages`. Raises ValueError if it is none of these, or if the data was not
        written by `to_dict`.
        """
        check_keys(data, {*SPACES, "model_config_dict", "catalog_class"}, where=f"{cls.__name__}.from_dict")
        if not isinstance(data["model_config_dict"], dict):
            raise ValueError("RLModuleConfig.from_dict: model_config_dict: expected a dict")
        return cls(
            **{name: _optional(space_from_dict, data[name]) for name in SPACES},
            model_config_dict=from_json(data["model_config_dict"]),
            catalog_class=named_catalog(data["catalog_class"], catalog_class, trusted_packages),
        )


def as_given(config: RLModuleConfig) -> RLModuleConfig:
    """Return a copy of a config whose settings stay as they are, whatever a constructor takes out of them."""
    given = copy(config)
    given.model_config_dict = _copied(config.model_config_dict)
    return given


def given_config(module: Any) -> RLModuleConfig:
    """Return the config of a module as its constructor got it."""
    given: RLModuleConfig = vars(module).get("_given_config", module.config)
    return given


def lost_fields(config: RLModuleConfig) -> list[str]:
    """Return what a config holds beyond an RLModuleConfig's fields: a class derived from it may."""
    return sorted(set(vars(config)) - {field.name for field in fields(RLModuleConfig)})


def _copied(value: Any) -> Any:
    """Return the dicts, lists and tuples of settings anew; what they hold is shared."""
    kind = type(value)
    if kind is dict:
        return {key: _copied(element) for key, element in value.items()}
    return kind(map(_copied, value)) if kind in (list, tuple) else value


def wrong_kinds(recipe: Any) -> list[str]:
    """Say which fields of a config or a spec are set to what their names do not promise."""
    space = "a gymnasium space"
    promised: dict[str, tuple[str, Any]] = {
        "observation_space": (space, gym.Space),
        "action_space": (space, gym.Space),
        "model_config_dict": ("a dict", Mapping),
        "catalog_class": ("a class of catalogs, PPOCatalog say", Callable),
    }
    values = {name: getattr(recipe, name) for name in promised}
    return [
        f"{name}: expected {expected}, got {values[name]!r} ({type(values[name]).__qualname__})"
        for name, (expected, kind) in promised.items()
        if values[name] is not None and not isinstance(values[name], kind)
    ]


def as_plain_dict(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as the plain dict that a file gives back; a plain dict as it is."""
    return settings if type(settings) is dict else dict(settings)


def check_keys(data: object, wanted: set[str], *, where: str) -> None:
    """Raise ValueError unless `data` is a mapping with exactly the keys `wanted`."""
    if not isinstance(data, Mapping) or set(data) != wanted:
        found = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__qualname__
        raise ValueError(f"{where}: expected the keys {sorted(wanted)}, got {found}")


def named_catalog(name: Json, passed: CatalogClass | None, trusted: Collection[str]) -> CatalogClass | None:
    """Return the catalog that a file names, or the one that the caller passed in its place."""
    if passed is not None or name is None:
        return passed
    found: Any = resolve_class(name, what="catalog_class", trusted=trusted)
    if not hasattr(found, "get_actor_critic_encoder_config"):
        raise ValueError(f"catalog_class: {name} is not a catalog")
    return found  # type: ignore[no-any-return]  # a class with a catalog's methods


def _optional(function: Any, value: Any) -> Any:
    return None if value is None else function(value)
