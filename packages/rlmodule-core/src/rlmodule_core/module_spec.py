"""The recipe of one module: which class, for which spaces, with which settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

from rlmodule_core.class_names import class_name, resolve_class
from rlmodule_core.json_values import Json
from rlmodule_core.module import RLModule
from rlmodule_core.module_config import (
    AnySettings,
    AnySpace,
    RLModuleConfig,
    _copied,
    check_keys,
    given_config,
    wrong_kinds,
)
from rlmodule_core.named_arguments import NamedArguments
from rlmodule_core.spaces import with_plain_sizes

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass


@dataclass(kw_only=True)
class SingleAgentRLModuleSpec(NamedArguments):
    """A recipe; what is None is filled in by whoever knows better (the algorithm, the environment)."""

    module_class: type[RLModule] | None = None
    observation_space: AnySpace = None
    action_space: AnySpace = None
    model_config_dict: AnySettings = None
    catalog_class: CatalogClass | None = None

    def __post_init__(self) -> None:
        """Give `Discrete.n` as Python's int, as RLModuleConfig does."""
        self.observation_space = with_plain_sizes(self.observation_space)
        self.action_space = with_plain_sizes(self.action_space)

    def build(self) -> RLModule:
        """Build the module. Raises ValueError that names every field that is missing or of a wrong kind."""
        missing = self.missing_fields()
        if missing or self.module_class is None:
            raise ValueError(
                f"SingleAgentRLModuleSpec.build: {', '.join(missing)} not set; pass them to the spec, or "
                "give the spec to an algorithm's config, which fills in what the environment tells"
            )
        problems = wrong_kinds(self)
        if not (isinstance(self.module_class, type) and issubclass(self.module_class, RLModule)):
            found = f"got {self.module_class!r}{_hint(self.module_class)}"
            problems.insert(0, f"module_class: expected a subclass of RLModule, {found}")
        if problems:
            raise ValueError(f"SingleAgentRLModuleSpec.build: {'; '.join(problems)}")
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
            model_config_dict=_copied(dict(self.model_config_dict or {})),
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
        """Return the recipe that a module was built from. ValueError if that was config=None."""
        if module.config is None:
            raise ValueError(f"{type(module).__name__} was built with config=None, so it has no recipe")
        config = given_config(module)
        return cls(
            module_class=type(module),
            observation_space=config.observation_space,
            action_space=config.action_space,
            model_config_dict=_copied(config.model_config_dict),
            catalog_class=config.catalog_class,
        )

    def to_dict(self) -> dict[str, Json]:
        """Return JSON data; classes are written by name, fields that are not set as None.

        Raises ValueError (UnsupportedSpaceError for a space) that names what has no such form.
        """
        data = self.get_rl_module_config().to_dict()
        settings = None if self.model_config_dict is None else data["model_config_dict"]
        named = None if self.module_class is None else class_name(self.module_class)
        return {**data, "model_config_dict": settings, "module_class": named}

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Json],
        *,
        module_class: type[RLModule] | None = None,
        catalog_class: CatalogClass | None = None,
        trusted_packages: Collection[str] = (),
    ) -> SingleAgentRLModuleSpec:
        """Return the recipe that `to_dict` wrote.

        Each class is the one passed, or the one that is named if that is ours, registered, or in one
        of `trusted_packages`. Raises ValueError if it is none of these, or for other data.
        """
        check_keys(data, {field.name for field in fields(cls)}, where=f"{cls.__name__}.from_dict")
        settings, name = data["model_config_dict"], data["module_class"]
        config = RLModuleConfig.from_dict(
            {key: value for key, value in data.items() if key != "module_class"}
            | {"model_config_dict": {} if settings is None else settings},
            catalog_class=catalog_class,
            trusted_packages=trusted_packages,
        )
        if module_class is None and name is not None:
            module_class = resolve_class(name, what="module_class", base=RLModule, trusted=trusted_packages)
        return cls(
            module_class=module_class,
            observation_space=config.observation_space,
            action_space=config.action_space,
            model_config_dict=None if settings is None else config.model_config_dict,
            catalog_class=config.catalog_class,
        )


def _hint(module_class: object) -> str:
    """Say what to pass where the mistake is a usual one."""
    if isinstance(module_class, RLModule):
        return f"; pass the class, {type(module_class).__name__}, not a module"
    from rlmodule_core.multi_agent import MultiAgentRLModule

    if isinstance(module_class, type) and issubclass(module_class, MultiAgentRLModule):
        return "; pass it as MultiAgentRLModuleSpec(marl_module_class=...)"
    return ""
