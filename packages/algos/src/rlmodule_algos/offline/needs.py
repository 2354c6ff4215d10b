"""Packages of the extra `offline`, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def needed(package: str, purpose: str) -> Any:
    """Return the module. Raises ImportError that names the extra where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs {package.partition('.')[0]}: pip install 'rlmodule-algos[offline]'",
            name=package,
        ) from error
