"""An algorithm's state on disk: `folder/ckpt_<iteration>/`, whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
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
    from rlmodule_algos.config import AlgorithmConfig

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


def algorithm_from_checkpoint(
    cls: type[Algorithm[Any]], directory: Path, config: AlgorithmConfig | None
) -> Algorithm[Any]:
    """Make the algorithm that was saved; see `Algorithm.from_checkpoint`."""
    saved = load_algorithm_state(directory, algorithm=getattr(cls, "name", None))
    if config is None:
        kinds = {kind.name: kind for kind in _subclasses(cls) if hasattr(kind, "name")}
        if saved["algorithm"] not in kinds:
            raise CheckpointError(f"{directory}: {saved['algorithm']!r} is none of {sorted(kinds)}")
        config = kinds[saved["algorithm"]].config_class.from_json(saved["config"])
    algorithm = config.build()
    try:
        algorithm.restore(directory)
    except BaseException:
        algorithm.stop()
        raise
    return algorithm


def _subclasses(kind: type[Algorithm[Any]]) -> Iterator[type[Algorithm[Any]]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)
