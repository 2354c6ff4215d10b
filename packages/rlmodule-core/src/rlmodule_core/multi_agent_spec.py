"""The recipe of several modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from rlmodule_core.module_spec import SingleAgentRLModuleSpec
from rlmodule_core.multi_agent import MultiAgentRLModule, MultiAgentRLModuleConfig


@dataclass(kw_only=True)
class MultiAgentRLModuleSpec:
    """A recipe for each id, or one template for every id that the environment or the policies name."""

    marl_module_class: type[MultiAgentRLModule] = MultiAgentRLModule
    module_specs: dict[str, SingleAgentRLModuleSpec] | SingleAgentRLModuleSpec | None = None

    @property
    def modules(self) -> dict[str, SingleAgentRLModuleSpec]:
        """The recipes by id. Raises ValueError while there is only a template, or nothing."""
        if not isinstance(self.module_specs, Mapping):
            raise ValueError(
                "MultiAgentRLModuleSpec: module_specs is "
                f"{'not set' if self.module_specs is None else 'one template without ids'}; pass "
                "{module id: SingleAgentRLModuleSpec}, or give the spec to an algorithm's config"
            )
        return self.module_specs

    def build(self) -> MultiAgentRLModule:
        """Build every module. Raises ValueError that names the module and its missing fields."""
        return self.marl_module_class(MultiAgentRLModuleConfig(modules=dict(self.modules)))

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
