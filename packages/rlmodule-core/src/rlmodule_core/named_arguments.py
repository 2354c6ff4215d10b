"""Recipes are dataclasses whose arguments have names; a wrong one is told the right one."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature
from typing import Any, Self

from rlmodule_core.config_checks import did_you_mean


class NamedArguments:
    """Base of a `dataclass(kw_only=True)`. TypeError that lists the arguments which it does not have."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Look at the names before `__init__` does, whose error would stop at the first."""
        made: Any = super().__new__(cls)
        names = [field.name for field in fields(made)]
        unknown = [name for name in kwargs if name not in names]
        if (args or unknown) and _is_generated(made.__init__, names):
            problems = [f"no argument {name!r}{did_you_mean(name, names)}" for name in unknown]
            problems += [f"{len(args)} without a name"] if args else []
            raise TypeError(
                f"{cls.__name__}: {'; '.join(problems)}; the arguments, each by its name, are "
                f"{', '.join(names)}"
            )
        return made  # type: ignore[no-any-return]  # of this class


def _is_generated(constructor: Any, names: list[str]) -> bool:
    """Whether a constructor takes the fields and nothing else: one that a class wrote may take others."""
    return names == list(signature(constructor).parameters)
