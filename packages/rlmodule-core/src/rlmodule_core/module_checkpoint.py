"""Modules as checkpoints: the recipe by name and as data, the weights as arrays."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rlmodule_core.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from rlmodule_core.class_names import unnameable
from rlmodule_core.module_config import check_keys, given_config, lost_fields
from rlmodule_core.module_spec import SingleAgentRLModuleSpec

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass
    from rlmodule_core.json_values import Json
    from rlmodule_core.module import RLModule

KIND = "rl_module"
Module = TypeVar("Module", bound="RLModule")
T = TypeVar("T")


def save_module(module: RLModule, directory: str | Path) -> Path:
    """Write one module; see `RLModule.save_to_checkpoint`."""
    where = f"{type(module).__name__}.save_to_checkpoint"
    directory = as_path(directory, where=where)
    recipe = written_recipe(module, where=where)
    state = {"spec": recipe, "weights": module.get_state(), "dtypes": module._dtypes()}
    write_checkpoint(directory, state, kind=KIND, replace=True)
    return directory


def load_module(
    cls: type[Module],
    directory: str | Path,
    module_class: type[RLModule] | None,
    catalog_class: CatalogClass | None,
    trusted_packages: Collection[str],
) -> Module:
    """Read one module; see `RLModule.from_checkpoint`."""
    directory = as_path(directory, where=f"{cls.__name__}.from_checkpoint")
    require_class(module_class, "module_class")
    tree = read_checkpoint(directory, kind=KIND)
    in_words(directory, lambda: check_keys(tree, {"spec", "weights", "dtypes"}, where="the state"))
    if module_class is None and not inspect.isabstract(cls):
        module_class = cls
    spec = in_words(
        directory,
        lambda: SingleAgentRLModuleSpec.from_dict(
            tree["spec"],
            module_class=module_class,
            catalog_class=catalog_class,
            trusted_packages=trusted_packages,
        ),
    )
    if spec.module_class is None or not issubclass(spec.module_class, cls):
        raise CheckpointError(f"{directory}: holds a {spec.module_class}, which is no {cls.__name__}")
    module = rebuilt(directory, spec.build)
    in_words(directory, lambda: module._take_dtypes(tree["dtypes"]))
    in_words(directory, lambda: module.set_state(tree["weights"]))
    in_words(directory, lambda: require_dtypes(tree["dtypes"], module._dtypes()))
    return module  # type: ignore[return-value]  # its class was compared above


def as_path(directory: object, *, where: str) -> Path:
    """Return a directory that was given as a str or path. Raises CheckpointError for anything else."""
    if not isinstance(directory, (str, os.PathLike)) or "\0" in str(directory) or not str(directory):
        raise CheckpointError(
            f"{where}: directory: expected a path, as a str or a pathlib.Path, got {directory!r:.60} "
            f"({type(directory).__qualname__})"
        )
    return Path(directory)


def require_class(passed: object, what: str) -> None:
    """Raise ValueError for what is passed as a class and is none."""
    if passed is not None and not isinstance(passed, type):
        raise ValueError(
            f"from_checkpoint: {what}: expected a class of modules, got {passed!r:.60} "
            f"({type(passed).__qualname__}); pass the class itself"
        )


def written_recipe(module: RLModule, *, where: str) -> dict[str, Json]:
    """Return a module's recipe as data. Raises CheckpointError if it could not be built from that again."""
    cls = type(module)
    if module.config is None:
        raise CheckpointError(
            f"{where}: it was built with config=None, so a file cannot say how to build it again; save the "
            "multi-agent module that builds it, or get_state() alone"
        )
    if lost := lost_fields(given_config(module)):
        raise CheckpointError(
            f"{where}: its config, a {type(module.config).__qualname__}, has {', '.join(lost)}, which a file "
            "has no place for; put it into model_config_dict"
        )
    try:
        inspect.signature(cls.__init__).bind(module, module.config)
    except TypeError as error:
        raise CheckpointError(
            f"{where}: the constructor of {cls.__name__} needs more than the config ({error}); take it from "
            "config.model_config_dict"
        ) from error
    return written_spec(SingleAgentRLModuleSpec.from_module(module), where=where)


def written_spec(spec: SingleAgentRLModuleSpec, *, where: str) -> dict[str, Json]:
    """Return a recipe as data. Raises CheckpointError that names what no file can say."""
    for cls in (spec.module_class, spec.catalog_class):
        if isinstance(cls, type) and (problem := unnameable(cls)):
            raise CheckpointError(f"{where}: {problem}")
    try:
        return spec.to_dict()
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


def require_dtypes(written: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise ValueError that lists the weights which are of another dtype than when they were written."""
    changed = [
        f"{name} is {dtype} in the file, {found.get(name, 'not there')} in the module"
        for name, dtype in written.items()
        if found.get(name) != dtype
    ]
    if changed:
        raise ValueError(
            f"weights would change their dtype: {'; '.join(changed)}; build the module in the dtype of the "
            "file (in Keras, keras.config.set_floatx), or read the file and use set_state, which converts"
        )


def rebuilt(directory: Path, build: Callable[[], T]) -> T:
    """Return `build()`, the constructor of somebody's class; whatever it raises becomes a CheckpointError."""
    try:
        return build()
    except Exception as error:
        raise CheckpointError(
            f"{directory}: the module cannot be built from its recipe: {type(error).__name__}: {error}"
        ) from error


def in_words(directory: Path, step: Callable[[], T]) -> T:
    """Do what fails where a file was written by someone else, and say which file it was."""
    try:
        return step()
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(f"{directory}: {error}") from error
    except Exception as error:  # a hostile file may bring about any: too deep, too large, of odd types
        raise CheckpointError(f"{directory}: damaged: {type(error).__name__}: {error}") from error
