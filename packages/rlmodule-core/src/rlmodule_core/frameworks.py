"""Where the framework packages plug in: a framework `x` is the installed package `rlmodule_x`.

The neutral layers know no framework by name, so another one needs no change here.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType


def framework_module(framework: str, name: str) -> ModuleType:
    """Import `rlmodule_<framework>.<name>`.

    Raises ImportError that says what to install when the package is not there.
    """
    package = f"rlmodule_{framework}"
    if not framework.isidentifier() or importlib.util.find_spec(package) is None:
        raise ImportError(
            f"framework={framework!r} needs the package rlmodule-{framework}, which is not installed: "
            f"pip install 'rlmodule-algos[{framework}]' to train, or 'rlmodule-{framework}' alone"
        )
    return importlib.import_module(f"{package}.{name}")
