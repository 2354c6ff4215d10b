"""What a multi-agent module is built from: one recipe an id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rlmodule_core.module import RLModule
from rlmodule_core.module_spec import SingleAgentRLModuleSpec
from rlmodule_core.named_arguments import NamedArguments
from rlmodule_specs import SpecError

OWN = "__own__"
"""Where a state keeps what belongs to the container itself and to none of its modules."""


@dataclass(kw_only=True)
class MultiAgentRLModuleConfig(NamedArguments):
    """The recipes of all modules, by id. Raises ValueError for anything else than recipes by id."""

    modules: dict[str, SingleAgentRLModuleSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no recipe here, where it was written, and not where it is used."""
        require_recipes(self.modules, where="MultiAgentRLModuleConfig: modules")


def id_problem(module_id: object) -> str | None:
    """Say why something cannot be the id of a module in a container and its checkpoints, or None.

    >>> id_problem(3)
    'expected a str, got int'
    """
    if not isinstance(module_id, str):
        return f"expected a str, got {type(module_id).__name__}"
    return "this name means something else; take another" if module_id == OWN else None


def id_problems(ids: Iterable[object]) -> list[str]:
    """Say which of these cannot be ids of modules, and why."""
    return [f"module id {key!r}: {problem}" for key in ids if (problem := id_problem(key))]


def require_recipes(recipes: object, *, where: str) -> None:
    """Raise ValueError that names everything in `recipes` which is not a recipe under an id."""
    expected = f"{where}: expected {{module id: SingleAgentRLModuleSpec}}"
    if not isinstance(recipes, Mapping):
        raise ValueError(f"{expected}, got {type(recipes).__name__}")
    odd = id_problems(recipes)
    odd += [
        f"{key!r} is {_short(spec)}"
        for key, spec in recipes.items()
        if not isinstance(spec, SingleAgentRLModuleSpec)
    ]
    if odd:
        raise ValueError(f"{expected}, but {'; '.join(odd)}")


def require_modules(built: object, *, where: str, some: bool) -> None:
    """Raise ValueError unless these are modules by id, as `build()` is to set them; `some`: one at least."""
    expected = f"{where}: set self._rl_modules to {{module id: module}}"
    items = getattr(built, "items", None)  # which an nn.ModuleDict has too
    if items is None:
        raise ValueError(f"{expected}, got {type(built).__name__}")
    kinds = {key: type(module) for key, module in items()}
    odd = id_problems(kinds)
    odd += [
        f"{key!r} is {kind.__name__}, which is no RLModule"
        for key, kind in kinds.items()
        if not issubclass(kind, RLModule)
    ]
    if odd:
        raise ValueError(f"{expected}, but {'; '.join(odd)}")
    if some and not kinds:
        raise ValueError(expected)


def name_module(error: SpecError, module_id: str) -> None:
    """Begin what an error says with the id of the module that raised it.

    The error stays the object that it is, so that its traceback ends where it was raised.
    """
    error.where = f"{module_id}: {error.where}" if error.where else module_id
    error.args = (error.problems, error.where, error.subject, error.rule)


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
