"""What the fields of a config may be, checked where it is made; all problems of one are told at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

from rlmodule_specs.wording import nearest, safe_repr


class Rule(NamedTuple):
    """Whether a value is good, and what was expected if it is not."""

    accepts: Callable[[Any], bool]
    expected: str
    names: tuple[str, ...] = ()  # if it is one of these, so that a typo is told the nearest


def require_fields(config: object, **rules: Rule) -> None:
    """Raise ValueError that lists every field whose value its rule does not accept."""
    problems = [
        f"{name}: expected {rule.expected}, got {safe_repr(value)}{did_you_mean(value, rule.names)}"
        for name, rule in rules.items()
        if not rule.accepts(value := getattr(config, name))
    ]
    if problems:
        raise ValueError(f"{type(config).__name__}: {'; '.join(problems)}")


def did_you_mean(value: object, names: Sequence[str]) -> str:
    """Return the end of a message: the name that looks most like a text, in any capitals, or nothing.

    >>> did_you_mean("LSTM", ["lstm", "gru"])
    ", did you mean 'lstm'?"
    >>> did_you_mean(7, ["lstm", "gru"])
    ''
    """
    if not isinstance(value, str):
        return ""
    originals = {name.lower(): name for name in names}
    close = nearest(value.strip().lower(), originals)
    return "" if close is None else f", did you mean {originals[close]!r}?"


def one_of(names: tuple[str, ...]) -> Rule:
    """Return the rule of a name."""
    return Rule(
        lambda value: isinstance(value, str) and value in names,
        f"one of {', '.join(map(repr, names))}",
        names,
    )


def is_integer(value: object) -> bool:
    """Tell whether it counts something: an int of Python or NumPy, but no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_size(value: Any) -> bool:
    """Tell whether it is a positive integer."""
    return is_integer(value) and value > 0


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number of Python or NumPy, but no bool."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _all_of(accepts: Callable[[Any], bool], length: int | None = None) -> Callable[[Any], bool]:
    def accept(value: Any) -> bool:
        fits = isinstance(value, (tuple, list)) and length in (None, len(value))
        return fits and all(map(accepts, value))

    return accept


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], (tuple, list))


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(is_integer(size) and size >= 0 for size in value)


def _is_buildable(value: Any) -> bool:
    return callable(getattr(value, "build", None)) and not isinstance(value, type)


SIZE = Rule(is_size, "a positive integer")
SIZES = Rule(_all_of(is_size), "a tuple of positive integers, such as (64, 64)")
PAIR = Rule(_all_of(is_size, 2), "two positive integers, (along the height, along the width)")
IMAGE = Rule(_all_of(is_size, 3), "three positive integers, (height, width, channels)")
SHAPE = Rule(_is_shape, "a tuple of integers, 0 or more")
INTEGERS = Rule(_all_of(is_integer), "a tuple of integers")
COUNT = Rule(lambda value: is_integer(value) and value >= 0, "an integer, 0 or more")
NUMBER = Rule(is_number, "a finite number")
POSITIVE = Rule(lambda value: is_number(value) and value > 0, "a positive number")
LIMIT = Rule(lambda value: value == math.inf or POSITIVE.accepts(value), "a positive number, or infinity")
BOOL = Rule(lambda value: isinstance(value, (bool, np.bool_)), "True or False")
BUILDABLE = Rule(_is_buildable, "a config, or an object of yours with build(framework)")
LEAF_CONFIGS = Rule(
    _all_of(lambda leaf: _is_leaf(leaf) and _is_buildable(leaf[1])),
    "a tuple of (path, config), each path a tuple of keys and positions, () for the whole",
)
LEAF_SHAPES = Rule(
    _all_of(lambda leaf: _is_leaf(leaf) and _is_shape(leaf[1])),
    "a tuple of (path, shape), each path a tuple of keys and positions, () for the whole",
)


def tuple_of(kind: type) -> Rule:
    """Return the rule of any number of objects of a class."""
    return Rule(_all_of(lambda value: isinstance(value, kind)), f"a tuple of {kind.__name__}s")
