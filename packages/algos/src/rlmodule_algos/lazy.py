"""Names that a package has not got until they are used, or not at all."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def lazy_names(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's `__getattr__` that finds each name in the module that `places` gives."""

    def __getattr__(name: str) -> object:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(places[name]), name)

    return __getattr__


def other_spellings(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's `__getattr__` that says how names are spelt here: `{name elsewhere: name here}`.

    By ImportError also to `getattr`, as `from package import name` would not pass on what an AttributeError
    says.
    """

    def __getattr__(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        here = names[name]
        raise ImportError(f"{name} is {here} here: from {package} import {here}", name=package)

    return __getattr__
