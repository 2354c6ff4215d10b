"""Where the framework packages plug in: a framework `x` is the installed package `rlmodule_x`.

The neutral layers call no framework by name, so another one needs no change here; names stand here only
to tell what was meant.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from rlmodule_specs.wording import nearest, safe_repr

OURS = {"torch": "torch", "tf": "tf", "tensorflow": "tf"}
"""What is written for the frameworks of ours, and their names."""


def framework_module(framework: str, name: str) -> ModuleType:
    """Import `rlmodule_<framework>.<name>`.

    Raises ValueError for what is no framework's name, or looks like another spelling of one, and
    ImportError when the package is not there, which says what to install for a framework of ours.
    """
    package = f"rlmodule_{framework}"
    named = isinstance(framework, str) and framework.isidentifier()
    if not named or importlib.util.find_spec(package) is None:
        meant = nearest(framework.strip().lower(), OURS) if isinstance(framework, str) else None
        if not named or (meant is not None and OURS[meant] != framework):
            hint = "" if meant is None else f", did you mean {OURS[meant]!r}?"
            raise ValueError(
                'framework: expected "torch" or "tf" (a framework x is the package rlmodule_x), '
                f"got {safe_repr(framework)}{hint}"
            )
        if framework not in OURS.values():  # then who made it knows what to install
            raise ImportError(
                f"framework={framework!r} needs the package {package}, which is not there; "
                'the frameworks of ours are "torch" and "tf"'
            )
        raise ImportError(
            f"framework={framework!r} needs the package rlmodule-{framework}, which is not installed: "
            f"pip install 'rlmodule-algos[{framework}]' to train, or 'rlmodule-{framework}' alone"
        )
    return importlib.import_module(f"{package}.{name}")
