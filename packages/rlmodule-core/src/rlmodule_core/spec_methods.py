"""What the six spec methods of a module say, made into the checks of its forwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from rlmodule_core.overrides import PHASES
from rlmodule_specs import CallChecker, SpecType, canonical
from rlmodule_specs.wording import safe_repr

SIDES = ("input", "output")
Asked: TypeAlias = Mapping[str, SpecType]


def call_checkers(module: object) -> dict[str, CallChecker]:
    """Ask each spec method once and return the checks by phase.

    Raises TypeError that lists those which are no methods, ValueError that lists those which give no
    spec; what a method itself raises stays that error, with a note of the place.
    """
    cls = type(module).__name__
    methods = _spec_methods(module, cls)
    asked = {name: _asked(method, f"{cls}.{name}()") for name, method in methods.items()}
    specs, problems = {}, []
    for name, spec in asked.items():
        try:
            specs[name] = canonical(spec)
        except ValueError as error:
            problems.append(f"{cls}.{name}(): {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return {phase: _call_checker(specs, phase, f"{cls}.forward_{phase}") for phase in PHASES}


def _spec_methods(module: object, cls: str) -> dict[str, Callable[[], SpecType]]:
    names = [f"{side}_specs_{phase}" for phase in PHASES for side in SIDES]
    methods = {name: getattr(module, name) for name in names}
    odd = {name: given for name, given in methods.items() if isinstance(given, type) or not callable(given)}
    if odd:
        listed = "; ".join(
            f"{cls}.{name}: expected a method that returns a spec, got {safe_repr(given)} "
            f"({type(given).__qualname__})"
            for name, given in odd.items()
        )
        raise TypeError(f"{listed}; write def {next(iter(odd))}(self): return ...")
    return methods


def _asked(method: Callable[[], SpecType], place: str) -> SpecType:
    try:
        return method()
    except Exception as error:
        error.add_note(f"in {place}, which is asked once, when the constructor has run")
        raise


def _call_checker(specs: Asked, phase: str, where: str) -> CallChecker:
    """Return the checks of one forward. ValueError if its two specs give a name two sizes."""
    try:
        return CallChecker(
            specs[f"input_specs_{phase}"],
            specs[f"output_specs_{phase}"],
            where=where,
            subject="the batch",
            result="the output",
            input_rule=f"input_specs_{phase}()",
            output_rule=f"output_specs_{phase}()",
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
