"""An algorithm's state on disk: `folder/ckpt_<iteration>/`, whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
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
from rlmodule_core.multi_agent import OWN

if TYPE_CHECKING:
    from rlmodule_algos.algorithm import Algorithm
    from rlmodule_algos.config import AlgorithmConfig

KIND = "rlmodule_algos.Algorithm"


def save_algorithm_state(algorithm: Algorithm[Any], folder: Path) -> Path:
    """Write the checkpoint of this iteration and return its path; the same iteration is replaced.

    Raises CheckpointError if it cannot be written there, or weights are not finite; an older one stays then.
    """
    path = folder / f"ckpt_{algorithm.iteration:09d}"
    if broken := algorithm.learner.not_finite():
        raise CheckpointError(
            f"{path}: was not written, as weights are not finite: {'; '.join(broken)}; restore an older "
            "checkpoint, or build the algorithm anew"
        )
    joined, own = algorithm._setup.joined, algorithm._setup.module_ids
    content = {
        "algorithm": algorithm.name,
        "config": algorithm.config.to_json(),
        "state": algorithm.get_state(),
        "left": [key for key in own if key not in algorithm.modules],
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


def restore_algorithm_state(algorithm: Algorithm[Any], directory: Path) -> None:
    """Let the algorithm be as it was saved, its modules too; see `Algorithm.restore`."""
    content = load_algorithm_state(directory, algorithm=algorithm.name)
    state, joined = content["state"], content["joined"]
    saved = set(state["learner"]["modules"]) - {OWN}
    known = set(algorithm._setup.module_ids)
    missing = sorted((saved - set(algorithm.modules)) & (known | set(joined)))
    recipes = {key: _recipe(key, joined.get(key), directory) for key in missing}
    before, came, learned = algorithm.get_state(), list[str](), False
    try:
        _require_same_modules(
            lacking=known.intersection(algorithm.modules) - saved - set(content["left"]),
            unknown=saved - set(algorithm.modules) - set(missing),
        )
        for module_id, spec in recipes.items():
            algorithm.add_module(module_id, spec)
            came.append(module_id)
            if module_id not in state["learner"]["optimizers"]:
                algorithm.learner.remove(module_id)
        algorithm.learner.set_state(state["learner"])  # first alone: what does not fit, seldom fits here
        learned = True
        algorithm.set_state(state)
    except (KeyError, TypeError, ValueError) as error:
        for module_id in came:
            algorithm.remove_module(module_id)
        if learned:
            algorithm.set_state(before)
        else:  # environments, and what was sampled, were not touched
            algorithm.learner.set_state(before["learner"])
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{directory}: does not fit this run: {reason}") from error
    for module_id in set(algorithm.modules) - saved:
        algorithm.remove_module(module_id)


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
        for module_id in set(saved["joined"]) & set(algorithm.modules):
            algorithm.remove_module(module_id)  # it left, and joined again with the recipe that was saved
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


def _recipe(module_id: str, written: Any, directory: Path) -> SingleAgentRLModuleSpec | None:
    """Return what `_written` wrote.

    Raises CheckpointError for a recipe that a file cannot tell: classes are never imported because a
    file says so.
    """
    try:
        if isinstance(written, str):
            raise ValueError(written)
        return None if written is None else SingleAgentRLModuleSpec.from_dict(written)
    except ValueError as error:
        raise CheckpointError(
            f"{directory}: the module {module_id!r} joined the run, but its recipe cannot be loaded from "
            f"a file: {error}; build the algorithm from its config, call add_module, then restore"
        ) from error


def _require_same_modules(*, lacking: set[str], unknown: set[str]) -> None:
    """Raise ValueError for modules that the config of one of two runs names and the other's does not."""
    problems = [
        f"{said} the modules {', '.join(map(repr, sorted(ids)))}"
        for said, ids in (("lacks", lacking), ("has, and this run's config does not name,", unknown))
        if ids
    ]
    if problems:
        raise ValueError(f"it {', and '.join(problems)}")


def _subclasses(kind: type[Algorithm[Any]]) -> Iterator[type[Algorithm[Any]]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)
