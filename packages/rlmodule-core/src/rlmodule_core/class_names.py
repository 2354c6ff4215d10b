"""Classes by name, for files: a name is followed only where that runs nobody's code unasked.

A name is `module:qualified_name`. Importing a module because a file says so is code execution, so
`resolve_class` imports from our own packages and from those that the caller trusts, and otherwise
knows only the classes that were passed or registered.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from typing import TypeVar

OURS = frozenset({"rlmodule_core", "rlmodule_torch", "rlmodule_tf", "rlmodule_catalogs", "rlmodule_algos"})
T = TypeVar("T", bound=type)

_registered: dict[str, type] = {}


def class_name(cls: type) -> str:
    """Return the name of a class.

    >>> class_name(dict)
    'builtins:dict'
    """
    return f"{cls.__module__}:{cls.__qualname__}"


def register_class(cls: T) -> T:
    """Let checkpoints name this class; also as a decorator. It is returned as it came.

    Raises ValueError for a class inside a function, which has no name that others could use, and for
    what is no class.
    """
    if not isinstance(cls, type):
        raise ValueError(f"register_class: expected a class, got {cls!r:.60} ({type(cls).__qualname__})")
    if problem := _inside_function(cls):  # no more: a decorator runs before the name is bound
        raise ValueError(f"register_class: {problem}")
    _registered[class_name(cls)] = cls
    return cls


def unnameable(cls: type) -> str | None:
    """Say why no file can name a class, or return None if one can."""
    if problem := _inside_function(cls):
        return problem
    if _find(sys.modules.get(cls.__module__), cls.__qualname__) is not cls:
        return f"{class_name(cls)} is another class now, or none; give each class a name of its own"
    return None


def _inside_function(cls: type) -> str | None:
    name = class_name(cls)
    if "<locals>" not in name:
        return None
    return f"{name} is defined inside a function, so no other process can find it; move it to a module"


def resolve_class(name: object, *, what: str, base: type = object, trusted: Collection[str] = ()) -> type:
    """Return the class of this name, a subclass of `base`.

    `what` names it in the errors. Raises ValueError if the name is not to be followed or leads
    nowhere.
    """
    if isinstance(trusted, str):
        raise ValueError(f"trusted_packages: expected a tuple of names, got the str {trusted!r}")
    module_name, _, qualname = str(name).partition(":")
    parts = [*module_name.split("."), *qualname.split(".")]
    if not isinstance(name, str) or not all(parts):
        raise ValueError(f"{what}: {name!r} is not the name of a class")
    found: object = _registered.get(name)
    if found is None:
        if "__main__" in parts:
            raise ValueError(
                f"{what}: {name} was defined in a script; pass the class, or register_class() it"
            )
        if parts[0] not in {*OURS, *trusted}:
            raise ValueError(
                f"{what}: {name} is neither ours nor registered; pass the class, register_class() it, or "
                f"pass trusted_packages=({parts[0]!r},), which lets the file import code from there"
            )
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ValueError(f"{what}: {name} cannot be imported: {error}") from error
        found = _find(module, qualname)
    if not (isinstance(found, type) and issubclass(found, base) and class_name(found) == name):
        raise ValueError(f"{what}: {name} is not a class derived from {base.__name__}")
    return found


def _find(owner: object, qualname: str) -> object:
    for part in qualname.split("."):
        owner = getattr(owner, part, None)
    return owner
