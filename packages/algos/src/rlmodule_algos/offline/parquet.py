"""A table as a Parquet file. What has several numbers a row is an `arrow.fixed_shape_tensor`.

Read are also columns of lists that are all of one length, nested or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rlmodule_algos.offline.column_names import Array
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_algos.offline.needs import needed


def read_parquet(path: Path) -> dict[str, Array]:
    """Return the columns. Raises OfflineDataError for what is no such file, or holds no numbers."""
    arrow = needed("pyarrow", f"reading {path.name}")
    parquet = needed("pyarrow.parquet", f"reading {path.name}")
    try:
        with parquet.ParquetFile(path) as opened:  # not read_table, which reads folders' names as columns
            table = opened.read()
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise OfflineDataError(str(path), [f"not a Parquet file: {error}"]) from error
    columns, problems = {}, []
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[name] = _joined([_to_numpy(arrow, chunk) for chunk in column.chunks], column.type)
        except ValueError as error:
            if _is_ours(name):
                problems.append(f"column {name!r}: {error}")
    require_none(str(path), problems)
    return columns


def write_parquet(file: BinaryIO, columns: Mapping[str, Array]) -> None:
    """Write the columns, which are all of one length."""
    arrow = needed("pyarrow", "writing Parquet")
    parquet = needed("pyarrow.parquet", "writing Parquet")
    parquet.write_table(
        arrow.table({name: _to_arrow(arrow, column) for name, column in columns.items()}),
        file,
        compression="zstd",
    )


def _to_arrow(arrow: Any, column: Array) -> Any:
    flat = arrow.array(column.reshape(-1))
    if column.ndim == 1:
        return flat
    shape = column.shape[1:]
    lists = arrow.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
    return arrow.ExtensionArray.from_storage(arrow.fixed_shape_tensor(flat.type, shape), lists)


def _to_numpy(arrow: Any, chunk: Any) -> Array:
    """Return a chunk as an array. Raises ValueError if it has gaps, or is not numbers all of one shape."""
    if chunk.null_count:
        raise ValueError(f"it has no value in {chunk.null_count} of {len(chunk)} rows")
    kind = chunk.type
    if isinstance(kind, arrow.FixedShapeTensorType):
        if kind.permutation not in (None, list(range(len(kind.shape)))):
            raise ValueError(f"a permuted tensor is not supported: {kind}")
        return _to_numpy(arrow, chunk.storage).reshape(len(chunk), *kind.shape)
    if arrow.types.is_fixed_size_list(kind):
        return _rows(_to_numpy(arrow, chunk.flatten()), len(chunk))
    if arrow.types.is_list(kind) or arrow.types.is_large_list(kind):
        sizes = np.unique(np.diff(chunk.offsets.to_numpy()))
        if len(sizes) > 1:
            raise ValueError(f"its lists have {sizes[0]} to {sizes[-1]} items; expected one length")
        return _rows(_to_numpy(arrow, chunk.flatten()), len(chunk))
    if not (arrow.types.is_boolean(kind) or arrow.types.is_integer(kind) or arrow.types.is_floating(kind)):
        raise ValueError(f"expected numbers, or lists of numbers, got {kind}")
    array: Array = chunk.to_numpy(zero_copy_only=False)
    return array


def _rows(flat: Array, rows: int) -> Array:
    return flat.reshape(rows, len(flat) // max(rows, 1), *flat.shape[1:])


def _joined(chunks: list[Array], kind: Any) -> Array:
    """Join what a column's row groups hold; their shapes may differ where the file says lists."""
    if not chunks:
        return np.zeros(0)
    if len({chunk.shape[1:] for chunk in chunks}) > 1:
        raise ValueError(f"its lists differ in length from row group to row group: {kind}")
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _is_ours(name: str) -> bool:
    """Whether episodes are made of the column; a description, say, may stand beside them."""
    return name.partition(".")[0] in {
        *("obs", "actions", "next_obs", "rewards", "terminated", "truncated"),
        *("episode_id", "is_final", "agents"),
    }
