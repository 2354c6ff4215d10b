"""The grammar of a shape: axes between commas, spaces are free.

h     a name: any size, the same wherever the name occurs in one check
64    that size
_     any size, binds nothing
...   any number of axes, once at most
"""

import operator
import re
from collections.abc import Mapping
from keyword import iskeyword
from typing import SupportsIndex

from rlmodule_specs.wording import suggestion

__all__ = ["ANY", "DOTS", "Axis", "names_in", "parse_shape", "parse_sizes"]

Axis = str | int  # a name, ANY, DOTS or a literal size
ANY = "_"
DOTS = "..."


def names_in(axes: tuple[Axis, ...]) -> tuple[str, ...]:
    """The names that the axes bind, each once, in order."""
    return tuple(axis for axis in dict.fromkeys(axes) if isinstance(axis, str) and axis not in (ANY, DOTS))


def parse_shape(text: str) -> tuple[Axis, ...]:
    """Read a shape.

    >>> parse_shape("b, 3"), parse_shape(" ...,h "), parse_shape("")
    (('b', 3), ('...', 'h'), ())
    """
    if not isinstance(text, str):
        example = ", ".join(map(str, text)) if isinstance(text, (tuple, list)) else "b, h"
        raise ValueError(f"a shape is written as a string: write {example!r} instead of {text!r}")
    if not text.strip():
        return ()
    axes = tuple(_parse_axis(part.strip(), text) for part in text.split(","))
    if axes.count(DOTS) > 1:
        raise ValueError(f"shape {text!r} has more than one '...': keep one, write '_' for one axis")
    return axes


def _parse_axis(part: str, text: str) -> Axis:
    if part in (ANY, DOTS):
        return part
    if part.isidentifier():
        if iskeyword(part):
            raise ValueError(f"shape {text!r}: {part!r} cannot be a name, write '_' for any size")
        return part
    if re.fullmatch("[0-9]+", part):
        if int(part) == 0:
            raise ValueError(f"shape {text!r}: a size is at least 1, write '_' for any size")
        return int(part)
    if re.fullmatch("-[0-9]+", part):
        raise ValueError(f"shape {text!r}: a size is at least 1, write '_' instead of {part!r} for any size")
    words = text.replace(",", " ").split()
    if not part or len(part.split()) > 1:
        raise ValueError(f"shape {text!r}: axes are separated by one comma, write {', '.join(words)!r}")
    raise ValueError(f"shape {text!r}: {part!r} is no axis, write a name (b), a size (3), '_' or '...'")


def parse_sizes(sizes: Mapping[str, SupportsIndex], axes: tuple[Axis, ...]) -> dict[str, int]:
    """Read the sizes that were given by keyword, in the order of the shape.

    >>> parse_sizes({"h": 10}, ("b", "h"))
    {'h': 10}
    """
    names = names_in(axes)
    shape = ", ".join(map(str, axes))
    for name in sizes:
        if name == ANY:
            raise ValueError(f"shape {shape!r}: '_' takes no size, write the size or a name in its place")
        if name not in names:
            raise ValueError(
                f"a size is given for {name!r}, a name not in shape {shape!r}: {suggestion(name, names)}"
            )
    return {name: _parse_size(name, sizes[name]) for name in names if name in sizes}


def _parse_size(name: str, size: SupportsIndex) -> int:
    problem = f"the size of {name!r} must be an integer of at least 1, got {size!r}"
    if isinstance(size, bool):
        raise ValueError(f"{problem}: write {name}={int(size)} if that is meant")
    try:
        number = operator.index(size)
    except TypeError:
        raise ValueError(f"{problem}: leave {name!r} without a size to accept any") from None
    if number < 1:
        raise ValueError(f"{problem}: leave {name!r} without a size to accept any")
    return number
