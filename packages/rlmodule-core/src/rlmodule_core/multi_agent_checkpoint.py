"""Multi-agent modules as checkpoints: one recipe an id, shared weights once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar

from rlmodule_core.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from rlmodule_core.class_names import class_name, resolve_class, unnameable
from rlmodule_core.module_checkpoint import (
    as_path,
    in_words,
    rebuilt,
    require_class,
    require_dtypes,
    written_recipe,
    written_spec,
)
from rlmodule_core.module_config import check_keys
from rlmodule_core.module_spec import SingleAgentRLModuleSpec
from rlmodule_core.multi_agent import OWN, MultiAgentRLModule
from rlmodule_core.multi_agent_config import MultiAgentRLModuleConfig
from rlmodule_core.state import tied_names

if TYPE_CHECKING:
    from rlmodule_core.json_values import Json
    from rlmodule_core.module import RLModule

KIND = "multi_agent_rl_module"
Modules = TypeVar("Modules", bound=MultiAgentRLModule)


def save_modules(modules: MultiAgentRLModule, directory: str | Path) -> Path:
    """Write all modules; see `MultiAgentRLModule.save_to_checkpoint`."""
    where = f"{type(modules).__name__}.save_to_checkpoint"
    directory = as_path(directory, where=where)
    cls = modules.written_in
    if problem := unnameable(cls):
        raise CheckpointError(f"{where}: {problem}")
    states = modules.get_state()
    recipes = [
        {"id": key, "added": key in modules._added_ids, "spec": _recipe(modules, key, where=where)}
        for key in modules
    ]
    _refuse_ties_of_added(modules, where=where)
    weights = {str(index): states[key] for index, key in enumerate(modules)}  # an id may be any str
    weights[OWN] = states.get(OWN, {})
    dtypes = {str(index): modules[key]._dtypes() for index, key in enumerate(modules)}
    tree = {
        "class": class_name(cls),
        "modules": recipes,
        "left_out": _left_out(modules),
        "built_from": list(modules.config.modules),
        "weights": weights,
        "dtypes": {**dtypes, OWN: modules._own_dtypes()},
    }
    write_checkpoint(directory, tree, kind=KIND, replace=True)
    return directory


def load_modules(
    cls: type[Modules],
    directory: str | Path,
    module_ids: Collection[str] | None,
    module_classes: Mapping[str, type[RLModule]] | None,
    trusted_packages: Collection[str],
) -> Modules:
    """Read modules; see `MultiAgentRLModule.from_checkpoint`."""
    directory = as_path(directory, where=f"{cls.__name__}.from_checkpoint")
    module_classes = {} if module_classes is None else module_classes
    _require_by_id(module_ids, module_classes)
    for key, module_class in module_classes.items():
        require_class(module_class, f"module_classes[{key!r}]")
    tree = read_checkpoint(directory, kind=KIND)
    keys = {"class", "modules", "left_out", "built_from", "weights", "dtypes"}
    in_words(directory, lambda: check_keys(tree, keys, where="the state"))
    entries = in_words(directory, lambda: _wanted(tree, module_ids, {*(module_ids or ()), *module_classes}))
    made = cls
    if cls is MultiAgentRLModule:
        made = in_words(
            directory,
            lambda: resolve_class(tree["class"], what="class", base=cls, trusted=trusted_packages),
        )
    specs = in_words(directory, lambda: _read_specs(entries, module_classes, trusted_packages))
    others: dict[str, SingleAgentRLModuleSpec] = {}
    if made.build is not MultiAgentRLModule.build:  # it may look at what is not wanted, or is no longer there
        others = in_words(directory, lambda: _other_specs(tree, entries, module_classes, trusted_packages))
    return _restored(directory, made, tree, entries, specs, others)


def _require_by_id(module_ids: object, module_classes: object) -> None:
    """Raise ValueError for ids that are none, a single str among them, and for classes without ids."""
    if isinstance(module_ids, str) or not isinstance(module_ids, (Collection, NoneType)):
        raise ValueError(
            f"from_checkpoint: module_ids: expected a list of module ids, got {module_ids!r:.60}"
        )
    if not isinstance(module_classes, Mapping):
        raise ValueError(
            f"from_checkpoint: module_classes: expected {{module id: class}}, got {module_classes!r:.60} "
            f"({type(module_classes).__qualname__})"
        )


Entries = Mapping[str, tuple[str, Any]]
"""What the file says of each module to load, and its place among all, by id."""

Specs = Mapping[str, SingleAgentRLModuleSpec]


def _restored(
    directory: Path,
    made: type[Modules],
    tree: Mapping[str, Any],
    entries: Entries,
    specs: Specs,
    others: Specs,
) -> Modules:
    """Build the container, from recipes of `others` too, and leave in it the modules of `entries`.

    The recipes are in the order that they had: the first may be the one that others follow.
    """
    built = {key: spec for key, spec in specs.items() if not entries[key][1]["added"]}
    known = {**others, **built}
    recipes = {key: known[key] for key in [*tree["built_from"], *known] if key in known}
    modules = rebuilt(directory, lambda: made(MultiAgentRLModuleConfig(modules=recipes)))
    for key in [key for key in specs if key not in built]:
        modules.add_module(key, rebuilt(directory, specs[key].build), override=True)
    in_words(directory, lambda: modules._keep_only(entries))  # build() may make more than is wanted
    in_words(directory, lambda: _set_weights(modules, tree, entries))
    return modules


def _set_weights(modules: MultiAgentRLModule, tree: Mapping[str, Any], entries: Entries) -> None:
    dtypes = {key: tree["dtypes"].get(index, {}) for key, (index, _) in entries.items()}
    for key, own in dtypes.items():
        modules[key]._take_dtypes(own)
    modules._take_own_dtypes(tree["dtypes"].get(OWN, {}))
    modules.set_state(_weights(tree["weights"], entries))
    for key, own in dtypes.items():
        found = {f"{key}.{name}": dtype for name, dtype in modules[key]._dtypes().items()}
        require_dtypes({f"{key}.{name}": dtype for name, dtype in own.items()}, found)
    require_dtypes(tree["dtypes"].get(OWN, {}), modules._own_dtypes())


def _weights(weights: Mapping[str, Any], entries: Entries) -> dict[str, Any]:
    own = {OWN: weights[OWN]} if weights.get(OWN) else {}
    return {**{key: weights.get(index, {}) for key, (index, _) in entries.items()}, **own}


def _recipe(modules: MultiAgentRLModule, key: str, *, where: str) -> dict[str, Json] | None:
    """Return what `build()` makes a module from, None if from nothing; of one added later its own recipe."""
    if key in modules._added_ids:
        return written_recipe(modules[key], where=f"{where}: {key}")
    spec = modules.config.modules.get(key)
    return None if spec is None else written_spec(spec, where=f"{where}: {key}")


def _left_out(modules: MultiAgentRLModule) -> list[dict[str, Json]]:
    """Return the recipes that `build()` had of modules which are gone: it may not do without.

    One that no file can say is not among them.
    """
    gone = {key: spec for key, spec in modules.config.modules.items() if key not in modules}
    replaced = {key: spec for key, spec in modules.config.modules.items() if key in modules._added_ids}
    found = []
    for key, spec in {**gone, **replaced}.items():
        with suppress(CheckpointError):
            found.append({"id": key, "spec": written_spec(spec, where=key)})
    return found


def _other_specs(
    tree: Mapping[str, Any],
    entries: Entries,
    module_classes: Mapping[str, type[RLModule]],
    trusted_packages: Collection[str],
) -> dict[str, SingleAgentRLModuleSpec]:
    """Return the recipes that `build()` had beyond those wanted. ValueError if a class cannot be followed."""
    unwanted = [entry for entry in tree["modules"] if entry["id"] not in entries and not entry["added"]]
    others = {str(entry["id"]): (str(entry["id"]), entry) for entry in [*unwanted, *tree["left_out"]]}
    return _read_specs(others, module_classes, trusted_packages)


def _refuse_ties_of_added(modules: MultiAgentRLModule, *, where: str) -> None:
    """Raise CheckpointError where loading could not share again what is shared now."""
    for name, earlier in tied_names(modules._tensors()).items():
        owners = {name.module_id, earlier.module_id} & modules._added_ids
        if owners and name.module_id != earlier.module_id:
            raise CheckpointError(
                f"{where}: {name} is the same parameter as {earlier}, but {', '.join(sorted(owners))} was "
                "added alone, so a file cannot say so; share it in build() of a class of your own"
            )


def _wanted(
    tree: Mapping[str, Any], module_ids: Collection[str] | None, wanted: set[str]
) -> dict[str, tuple[str, Any]]:
    """Return the entries to load by id, with their places among all; `wanted` are ids that must be there."""
    for entry in tree["modules"]:
        check_keys(entry, {"id", "added", "spec"}, where="modules")
    entries = {str(entry["id"]): (str(index), entry) for index, entry in enumerate(tree["modules"])}
    unknown = sorted(wanted - set(entries))
    if unknown:
        raise ValueError(f"no modules {unknown}; the ids are {sorted(entries)}")
    return {key: entry for key, entry in entries.items() if module_ids is None or key in module_ids}


def _read_specs(
    entries: Entries,
    module_classes: Mapping[str, type[RLModule]],
    trusted_packages: Collection[str],
) -> dict[str, SingleAgentRLModuleSpec]:
    return {
        key: SingleAgentRLModuleSpec.from_dict(
            entry["spec"], module_class=module_classes.get(key), trusted_packages=trusted_packages
        )
        for key, (_, entry) in entries.items()
        if entry["spec"] is not None
    }
