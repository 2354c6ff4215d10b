"""Episodes -> a file, which is there whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from rlmodule_algos.offline.agents import to_columns_of_agents
from rlmodule_algos.offline.errors import OfflineDataError
from rlmodule_algos.offline.npz import write_npz
from rlmodule_algos.offline.parquet import write_parquet
from rlmodule_algos.offline.reading import EpisodeLike, read_episodes
from rlmodule_algos.offline.table import to_table

WRITERS: dict[str, Any] = {".npz": write_npz, ".parquet": write_parquet, ".pq": write_parquet}


def write_episodes(path: str | PathLike[str], episodes: Sequence[EpisodeLike]) -> None:
    """Write episodes as `.npz` or Parquet, by the suffix; an older file is replaced.

    `read_episodes` gives them back, dtypes kept. Raises OfflineDataError for another suffix, for what is
    no episode, and for episodes that differ in structure, shape or dtype, before anything is written.
    """
    path = Path(path).expanduser()
    if path.suffix not in WRITERS:
        raise OfflineDataError(str(path), [f"expected one of {', '.join(WRITERS)}, got {path.suffix!r}"])
    columns = _columns(path, list(episodes))
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            WRITERS[path.suffix](file, columns)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _columns(path: Path, given: list[Any]) -> dict[str, Any]:
    try:
        known = read_episodes(given)
        many = [episode for episode in known if isinstance(episode, dict)]
        if many:
            return to_columns_of_agents(many, equal_lengths=path.suffix != ".npz")
        one = [episode for episode in known if not isinstance(episode, dict)]
        return to_table(one, range(len(one)))
    except OfflineDataError as error:
        raise OfflineDataError(f"{path}: {error.where}", error.problems) from error
