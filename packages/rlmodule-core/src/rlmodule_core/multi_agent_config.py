"""What a multi-agent module is built from: one recipe an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlmodule_core.module import RLModule
from rlmodule_core.module_spec import SingleAgentRLModuleSpec


@dataclass(kw_only=True)
class MultiAgentRLModuleConfig:
    """The recipes of all modules, by id. Raises ValueError for anything else than recipes by id."""

    modules: dict[str, SingleAgentRLModuleSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no recipe here, where it was written, and not where it is used."""
        require_recipes(self.modules, where="MultiAgentRLModuleConfig: modules")


def require_recipes(recipes: object, *, where: str) -> None:
    """Raise ValueError that names everything in `recipes` which is not a recipe under an id."""
    expected = f"{where}: expected {{module id: SingleAgentRLModuleSpec}}"
    if not isinstance(recipes, Mapping):
        raise ValueError(f"{expected}, got {type(recipes).__name__}")
    odd = [
        f"{key!r} is {_short(spec)}"
        for key, spec in recipes.items()
        if not (isinstance(key, str) and isinstance(spec, SingleAgentRLModuleSpec))
    ]
    if odd:
        raise ValueError(f"{expected}, but {'; '.join(odd)}")


def _short(given: object) -> str:
    """Say what stands in the place of a recipe; of a module its class, as its text has a line a layer."""
    if isinstance(given, type):
        return f"the class {given.__name__}; pass SingleAgentRLModuleSpec(module_class={given.__name__})"
    if isinstance(given, RLModule):
        name = type(given).__name__
        return (
            f"a module of {name}; pass SingleAgentRLModuleSpec(module_class={name}), or add_module() it later"
        )
    return f"{given!r:.60}"
