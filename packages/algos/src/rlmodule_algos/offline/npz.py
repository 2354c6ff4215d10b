"""A table as a file of NumPy's: an array for each column, and never a pickled object."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from rlmodule_algos.offline.column_names import Array
from rlmodule_algos.offline.errors import OfflineDataError

BROKEN = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path) -> dict[str, Array]:
    """Return the columns. Raises OfflineDataError for what is no such file, or holds objects."""
    try:
        opened = np.load(path, allow_pickle=False)
    except BROKEN as error:
        raise OfflineDataError(str(path), [f"not a file that np.savez wrote: {error}"]) from error
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise OfflineDataError(str(path), ["expected several columns, got a single array"])
    columns = {}
    with opened:
        for name in opened.files:
            try:
                columns[name] = opened[name]
            except BROKEN as error:
                raise OfflineDataError(str(path), [f"column {name!r}: {_reason(error)}"]) from error
    return columns


def write_npz(file: BinaryIO, columns: Mapping[str, Array]) -> None:
    """Write the columns."""
    np.savez(file, allow_pickle=False, **columns)


def _reason(error: Exception) -> str:
    if "allow_pickle" in str(error):
        return (
            "it holds Python objects, which are refused, as loading them may run any code; save arrays of "
            "numbers, and nested ones a column for each part (obs.arm, obs.eye)"
        )
    return f"it cannot be read: {error}"
