"""An algorithm's state on disk: `folder/ckpt_<iteration>/`, whole or absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlmodule_core import (
    CheckpointError,
    SingleAgentRLModuleSpec,
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
    joined = algorithm._setup.joined
    content = {
        "algorithm": algorithm.name,
        "config": algorithm.config.to_json(),
        "state": algorithm.get_state(),
        "modules": sorted(algorithm.modules),
        "joined": {key: _written(joined[key]) for key in joined if key in algorithm.modules},
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
        _gather(algorithm, saved, directory)
        algorithm.restore(directory)
    except BaseException:
        algorithm.stop()
        raise
    return algorithm


def _written(spec: SingleAgentRLModuleSpec | None) -> Any:
    """Return a recipe as JSON data, or why it has no such form, which keeps nobody from saving."""
    try:
        return None if spec is None else spec.to_dict()
    except ValueError as error:
        return str(error)


def _gather(algorithm: Algorithm[Any], saved: Mapping[str, Any], directory: Path) -> None:
    """Let the modules join that had joined, and those go that had been removed.

    Raises CheckpointError for a recipe that a file cannot tell: classes are never imported because a
    file says so.
    """
    for module_id, written in saved.get("joined", {}).items():
        try:
            if isinstance(written, str):
                raise ValueError(written)
            spec = None if written is None else SingleAgentRLModuleSpec.from_dict(written)
        except ValueError as error:
            raise CheckpointError(
                f"{directory}: the module {module_id!r} joined the run, but its recipe cannot be loaded from "
                f"a file: {error}; build the algorithm from its config, call add_module, then restore"
            ) from error
        algorithm.add_module(module_id, spec)
    for module_id in set(algorithm.modules) - set(saved.get("modules", algorithm.modules)):
        algorithm.remove_module(module_id)


def _subclasses(kind: type[Algorithm[Any]]) -> Iterator[type[Algorithm[Any]]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)
