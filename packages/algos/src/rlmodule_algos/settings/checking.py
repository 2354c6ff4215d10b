"""Settings that are checked where they are given: names, types and ranges, all problems at once."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints


class ConfigError(ValueError):
    """A setting that does not exist, or has a value that cannot be; nothing was changed."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for `Annotated`; `open_low` leaves the lower bound itself out."""

    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False

    def holds(self, value: float) -> bool:
        """Whether the number lies inside (NaN and infinity never do)."""
        above = self.low < value if self.open_low else self.low <= value
        return above and value <= self.high and value != float("inf")

    def __str__(self) -> str:
        if self.high == float("inf"):
            return f"{'> ' if self.open_low else '>= '}{self.low:.10g}"
        return f"in {'(' if self.open_low else '['}{self.low:.10g}, {self.high:.10g}]"


PositiveInt: TypeAlias = Annotated[int, Range(1)]
NonNegativeInt: TypeAlias = Annotated[int, Range(0)]
PositiveFloat: TypeAlias = Annotated[float, Range(0, open_low=True)]
NonNegativeFloat: TypeAlias = Annotated[float, Range(0)]
Fraction: TypeAlias = Annotated[float, Range(0, 1)]

Schedule: TypeAlias = Sequence[Sequence[float]]
"""`[[env_step, value], ...]`: linear between the points, constant outside of them; no value is negative."""


def check_settings(
    where: str,
    hints: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    renamed: Mapping[str, str],
    refused: Mapping[str, str],
    problems: Iterable[str] = (),
) -> None:
    """Raise ConfigError unless every setting is a key of `hints` and fits the type there.

    `renamed` maps names from elsewhere to what to say instead, `refused` names that nobody would look at
    to why; `problems` were found before.
    """
    found = list(problems)
    for name, value in given.items():
        if name in refused:
            found.append(f"{name}: {refused[name]}; leave it out")
        elif name not in hints:
            found.append(_unknown(name, sorted(hints), renamed))
        elif reason := mismatch(value, hints[name]):
            found.append(f"{name}: {reason}")
    if found:
        raise ConfigError(f"{where}: " + "; ".join(found))


@cache
def declared_settings(declared: type) -> Mapping[str, Any]:
    """Return the names and types that a TypedDict declares."""
    return MappingProxyType(get_type_hints(declared, include_extras=True))


def mismatch(value: object, hint: Any) -> str | None:
    """Say how a value misses a type hint, or None if it fits.

    >>> mismatch(2.0, Fraction)
    'expected a number in [0, 1], got 2.0'
    >>> mismatch(True, PositiveInt)
    'expected an integer >= 1, got True'
    """
    expected = _describe(hint)
    return None if _fits(value, hint) else f"expected {expected}, got {value!r}"


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint in (Any, object):
        return True
    if origin is Annotated:
        base, limits = get_args(hint)
        return _fits(value, base) and limits.holds(value)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(option) and value == option for option in get_args(hint))
    if hint == Schedule:
        return _is_schedule(value)
    return _is_instance(value, hint, origin)


def _is_instance(value: Any, hint: Any, origin: Any) -> bool:
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is None or hint is NoneType:
        return value is None
    kind = origin or hint
    return isinstance(value, kind) and not (kind is Sequence and isinstance(value, str))


def _is_schedule(value: object) -> bool:
    """Points are pairs of numbers >= 0, at growing steps of which the first is 0."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    if not all(isinstance(point, (list, tuple)) and len(point) == 2 for point in value):
        return False
    if not all(_fits(number, NonNegativeFloat) for point in value for number in point):
        return False
    steps = [point[0] for point in value]
    return steps[0] == 0 and all(a < b for a, b in itertools.pairwise(steps))


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        base, limits = get_args(hint)
        return f"{_describe(base)} {limits}"
    if hint == Schedule:
        return "a schedule [[0, value], [env_step, value], ...] with growing env steps and values >= 0"
    if origin in (Union, UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    words = {int: "an integer", float: "a number", bool: "True or False", str: "a string", NoneType: "None"}
    return words.get(hint, getattr(origin or hint, "__name__", str(hint)))


def _unknown(name: str, known: list[str], renamed: Mapping[str, str]) -> str:
    if name in renamed:
        return f"{name!r} is {renamed[name]} here"
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known) or 'none'}"
    return f"unknown setting {name!r}, {hint}"
