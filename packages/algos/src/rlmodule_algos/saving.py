"""An algorithm's state on disk: `folder/ckpt_<iteration>/`, whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlmodule_core import (
    CheckpointError,
    is_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    write_checkpoint,
)

if TYPE_CHECKING:
    from rlmodule_algos.algorithm import Algorithm

KIND = "rlmodule_algos.Algorithm"


def save_algorithm_state(algorithm: Algorithm[Any], folder: Path) -> Path:
    """Write the checkpoint of this iteration and return its path; the same iteration is replaced.

    Raises CheckpointError if it cannot be written there; an older one stays then.
    """
    path = folder / f"ckpt_{algorithm.iteration:09d}"
    content = {
        "algorithm": algorithm.name,
        "config": algorithm.config.to_json(),
        "state": algorithm.get_state(),
    }
    try:
        write_checkpoint(path, content, kind=KIND, replace=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error
    return path


def load_algorithm_state(path: Path, algorithm: str | None = None) -> dict[str, Any]:
    """Return what `save_algorithm_state` wrote: from a checkpoint, or the newest one of a folder.

    Raises CheckpointError if there is none, it is damaged, or it is another algorithm's.
    """
    if not is_checkpoint(path):
        newest = next(numbered_checkpoints(path), None)
        if newest is None:
            raise CheckpointError(f"{path}: no checkpoint here, and no ckpt_<iteration> folder with one")
        path = newest
    content = read_checkpoint(path, kind=KIND)
    if algorithm is not None and content["algorithm"] != algorithm:
        raise CheckpointError(f"{path}: was saved by {content['algorithm']!r}, this is {algorithm!r}")
    return content
