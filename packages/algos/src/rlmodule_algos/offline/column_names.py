"""A nest of arrays <-> flat columns, which are named with their paths.

    {"arm": (a, b), "eye": c} as `obs`  <->  obs.arm.0, obs.arm.1, obs.eye

A dot goes one level down; digits are a position in a tuple, anything else is a key of a dict. Where a
key would read otherwise, some of it is written as in a URL: a dot as %2E, a percent sign as %25, slashes
and NUL likewise, the first of digits only as %30 to %39, and the empty key as a single percent sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

import numpy.typing as npt

from rlmodule_algos.offline.errors import OfflineDataError
from rlmodule_core.nest import Nest

Array = npt.NDArray[Any]
ESCAPED = "%./\\\0"  # the last three would change what a member of a zip file is called


def to_columns(name: str, nest: Nest) -> dict[str, Array]:
    """Return the leaves of a nest by name, `name` alone where it is one array.

    >>> import numpy as np
    >>> list(to_columns("obs", {"arm": (np.zeros(1), np.zeros(1)), "x.y": np.zeros(1)}))
    ['obs.arm.0', 'obs.arm.1', 'obs.x%2Ey']
    """
    if isinstance(nest, dict):
        children: Iterable[tuple[str, Nest]] = [(quoted(key, name), child) for key, child in nest.items()]
    elif isinstance(nest, tuple):
        children = [(str(position), child) for position, child in enumerate(nest)]
    else:
        return {name: nest}
    if not nest:
        raise OfflineDataError(name, [f"an empty {type(nest).__name__} has no columns; leave it out"])
    columns: dict[str, Array] = {}
    for part, child in children:
        columns |= to_columns(f"{name}.{part}", child)
    return columns


def from_columns(name: str, columns: Mapping[str, Array]) -> Nest:
    """Return the nest whose leaves are `name` or begin with `name.`; other columns are left alone.

    Raises OfflineDataError where names contradict each other.
    """
    inside = {column: array for column, array in columns.items() if belongs(column, name)}
    if name in inside:
        if len(inside) > 1:
            raise OfflineDataError(name, [f"it is a column, but so are {sorted(set(inside) - {name})}"])
        return inside[name]
    parts = list(dict.fromkeys(column[len(name) + 1 :].partition(".")[0] for column in inside))
    if not any(is_position(part) for part in parts):
        return {unquoted(part): from_columns(f"{name}.{part}", inside) for part in parts}
    if set(parts) != set(map(str, range(len(parts)))):
        problem = f"expected the positions 0 to {len(parts) - 1} of a tuple, got {sorted(parts)}"
        raise OfflineDataError(name, [f"{problem}; a key of digits is written %30 to %39 for its first"])
    return tuple(from_columns(f"{name}.{position}", inside) for position in range(len(parts)))


def belongs(column: str, name: str) -> bool:
    """Whether a column is `name` or a part of it."""
    return column == name or column.startswith(f"{name}.")


def is_position(part: str) -> bool:
    """Whether it is written in digits alone."""
    return part.isascii() and part.isdigit()


def quoted(key: object, name: str) -> str:
    """Return a key of a dict as a part of a column's name; `name` is where the dict stands.

    >>> quoted("a.b", "obs"), quoted("12", "obs")
    ('a%2Eb', '%312')
    """
    if not isinstance(key, str):
        raise OfflineDataError(name, [f"keys are strings in a file, got {key!r}"])
    if is_position(key):
        return f"%{ord(key[0]):02X}{key[1:]}"
    return "".join(f"%{ord(char):02X}" if char in ESCAPED else char for char in key) or "%"


def unquoted(part: str) -> str:
    """Undo `quoted`."""
    return "" if part == "%" else unquote(part)


def shape_of(array: Array) -> str:
    """Describe one row of a column: dtype and trailing shape.

    >>> import numpy as np
    >>> shape_of(np.zeros((7, 2), np.float32))
    'float32 [2]'
    """
    return f"{array.dtype} {list(array.shape[1:])}"
