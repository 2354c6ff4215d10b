"""The recipe of several modules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

from rlmodule_core.construction import constructed
from rlmodule_core.module_spec import SingleAgentRLModuleSpec
from rlmodule_core.multi_agent import MultiAgentRLModule
from rlmodule_core.multi_agent_config import MultiAgentRLModuleConfig, require_recipes
from rlmodule_core.named_arguments import NamedArguments


@dataclass(kw_only=True)
class MultiAgentRLModuleSpec(NamedArguments):
    """A recipe for each id, or one template for every id that the environment or the policies name."""

    marl_module_class: type[MultiAgentRLModule] = MultiAgentRLModule
    module_specs: dict[str, SingleAgentRLModuleSpec] | SingleAgentRLModuleSpec | None = None

    @property
    def modules(self) -> dict[str, SingleAgentRLModuleSpec]:
        """The recipes by id. Raises ValueError while there is only a template, or nothing."""
        if self.module_specs is not None and not isinstance(
            self.module_specs, (Mapping, SingleAgentRLModuleSpec)
        ):
            raise ValueError(
                "MultiAgentRLModuleSpec: module_specs: expected {module id: SingleAgentRLModuleSpec} or one "
                f"SingleAgentRLModuleSpec, got {type(self.module_specs).__name__}"
            )
        if not isinstance(self.module_specs, Mapping):
            raise ValueError(
                "MultiAgentRLModuleSpec: module_specs is "
                f"{'not set' if self.module_specs is None else 'one template without ids'}; pass "
                "{module id: SingleAgentRLModuleSpec}, or give the spec to an algorithm's config"
            )
        require_recipes(self.module_specs, where="MultiAgentRLModuleSpec: module_specs")
        return self.module_specs

    def build(self) -> MultiAgentRLModule:
        """Build every module.

        Raises ValueError that names the module and its missing fields, and that lists the ids if the
        container made no module for some of them; TypeError if its constructor forgot that of its base.
        """
        cls = self.marl_module_class
        if not (isinstance(cls, type) and issubclass(cls, MultiAgentRLModule)):
            raise ValueError(f"marl_module_class: expected a subclass of MultiAgentRLModule, got {cls!r}")
        made = _constructed(cls, MultiAgentRLModuleConfig(modules=dict(self.modules)))
        _require_ids(made, self.modules)
        return made

    def update(self, other: MultiAgentRLModuleSpec, overwrite: bool = False) -> Self:
        """Take over what `other` says; in place, returns itself.

        A recipe of `other` for an id that is here too updates it field by field, what `other` sets
        wins; with `overwrite` it replaces it. A template counts as a recipe for every id of the other
        side.
        """
        if not isinstance(other, MultiAgentRLModuleSpec):
            raise ValueError(f"update: expected a MultiAgentRLModuleSpec, got {type(other).__name__}")
        if other.marl_module_class is not MultiAgentRLModule:
            self.marl_module_class = other.marl_module_class
        self.module_specs = _merged(self.module_specs, other.module_specs, overwrite)
        return self

    def filled_in(self, known: Mapping[str, SingleAgentRLModuleSpec]) -> Self:
        """Return this recipe for exactly the ids of `known`, whose fields fill what is not set here.

        Raises ValueError with both lists if recipes are given for other ids.
        """
        given = self.module_specs
        if isinstance(given, Mapping):
            if set(given) != set(known):
                raise ValueError(
                    f"MultiAgentRLModuleSpec: recipes are given for the ids {sorted(given)}, "
                    f"but the modules needed are {sorted(known)}"
                )
            own = dict(given)
        else:
            own = dict.fromkeys(known, given or SingleAgentRLModuleSpec())
        merged = {key: replace(spec).update(own[key]) for key, spec in known.items()}
        return replace(self, module_specs=merged)


def _constructed(cls: type[MultiAgentRLModule], config: MultiAgentRLModuleConfig) -> MultiAgentRLModule:
    """Build a container. Raises TypeError if its constructor did not call that of its base."""
    remedy = ", so build() made no modules; call super().__init__(config), after setting what build() needs"
    made: MultiAgentRLModule = constructed(cls, (config,), {}, mark="_added_ids", remedy=remedy)
    return made


def _require_ids(made: MultiAgentRLModule, wanted: Collection[str]) -> None:
    """Raise ValueError with both lists if a container has no module for a recipe; it may have more."""
    lost = [key for key in wanted if key not in made]
    if not lost:
        return
    if set(lost) <= set(made.config.modules):
        names = ", ".join(map(repr, lost))
        remedy = f"let its build() put into self._rl_modules a module for {names} too"
    else:
        remedy = "its constructor did not pass these recipes on: call super().__init__(config)"
    raise ValueError(
        f"MultiAgentRLModuleSpec.build: {type(made).__name__} lacks modules: recipes are given for the ids "
        f"{sorted(wanted)}, but it made {sorted(made)}; {remedy}"
    )


Recipes: TypeAlias = dict[str, SingleAgentRLModuleSpec] | SingleAgentRLModuleSpec | None


def _merged(own: Recipes, other: Recipes, overwrite: bool) -> Recipes:
    if isinstance(own, Mapping) or isinstance(other, Mapping):
        ids = {**(own if isinstance(own, Mapping) else {}), **(other if isinstance(other, Mapping) else {})}
        return {key: _merged_recipe(_of(own, key), _of(other, key), overwrite) for key in ids}
    return None if own is None and other is None else _merged_recipe(own, other, overwrite)


def _of(recipes: Recipes, key: str) -> SingleAgentRLModuleSpec | None:
    return recipes.get(key) if isinstance(recipes, Mapping) else recipes


def _merged_recipe(
    own: SingleAgentRLModuleSpec | None, other: SingleAgentRLModuleSpec | None, overwrite: bool
) -> SingleAgentRLModuleSpec:
    if own is None or (overwrite and other is not None):
        return replace(other or SingleAgentRLModuleSpec())
    return replace(own) if other is None else replace(own).update(other)
