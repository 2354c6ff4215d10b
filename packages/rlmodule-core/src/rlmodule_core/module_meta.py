"""How classes of modules are made, and modules built."""

from __future__ import annotations

import abc
from typing import Any

from rlmodule_core.construction import constructed
from rlmodule_core.module_config import RLModuleConfig, as_given
from rlmodule_core.overrides import PUBLIC_FORWARDS, misspelled


class RLModuleMeta(abc.ABCMeta):
    """Checks a class when it is made, and finishes a module when its whole constructor has run."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> RLModuleMeta:
        """Refuse a class that overrides a public forward, itself or by a mixin: its checks would be lost.

        Only the class that brings a framework in may have forwards of its own. Refuse names that are
        nearly those to override too.
        """
        made = super().__new__(mcs, name, bases, namespace, **kwargs)
        ours = [cls for cls in reversed(made.__mro__) if isinstance(cls, RLModuleMeta)]
        first = next((cls for cls in ours if "framework" in vars(cls)), ours[0])
        overridden = [
            forward for forward in PUBLIC_FORWARDS if getattr(made, forward) is not getattr(first, forward)
        ]
        if overridden:
            raise TypeError(
                f"{name} overrides {', '.join(overridden)}, whose checks would be lost; "
                f"override {', '.join('_' + forward for forward in overridden)} instead"
            )
        _refuse_misspelled(made, bases)
        return made

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build a module; TypeError that names the forwards which its class lacks, or a forgotten super()."""
        missing = [name for name in sorted(cls.__abstractmethods__) if name.startswith("_forward_")]
        if missing:
            raise TypeError(
                f"{cls.__name__} cannot be built: it lacks {', '.join(missing)}; "
                "each takes the batch, a mapping, and returns a dict"
            )
        given = {id(config): as_given(config) for config in _configs(args, kwargs)}
        remedy = "; call super().__init__(config) first, then make the layers"
        module = constructed(cls, args, kwargs, mark="config", remedy=remedy)
        if id(module.config) in given:
            vars(module)["_given_config"] = given[id(module.config)]
        module._finish()
        return module


def _refuse_misspelled(made: type, bases: tuple[type, ...]) -> None:
    """Raise TypeError that lists the misspelled overrides of a class, itself or by a mixin."""
    seen = {cls for base in bases if isinstance(base, RLModuleMeta) for cls in base.__mro__}
    names = [name for cls in made.__mro__ if cls not in seen for name in vars(cls)]
    if found := misspelled(names):
        listed = ", ".join(f"{name} (did you mean {meant}?)" for name, meant in found.items())
        raise TypeError(
            f"{made.__name__}: RLModule calls no {listed}; write the name that it calls, or give a method of "
            "your own another name"
        )


def _configs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[RLModuleConfig]:
    return [value for value in (*args, *kwargs.values()) if isinstance(value, RLModuleConfig)]
