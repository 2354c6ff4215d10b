"""Multi-agent modules as checkpoints: one recipe an id, shared weights once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rlmodule_core.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from rlmodule_core.class_names import class_name, resolve_class, unnameable
from rlmodule_core.module_checkpoint import in_words, rebuilt, written_recipe, written_spec
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


def save_modules(modules: MultiAgentRLModule, directory: Path) -> Path:
    """Write all modules; see `MultiAgentRLModule.save_to_checkpoint`."""
    where = f"{type(modules).__name__}.save_to_checkpoint"
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
    tree = {"class": class_name(cls), "modules": recipes, "weights": weights}
    write_checkpoint(directory, tree, kind=KIND, replace=True)
    return directory


def load_modules(
    cls: type[Modules],
    directory: Path,
    module_ids: Collection[str] | None,
    module_classes: Mapping[str, type[RLModule]],
    trusted_packages: Collection[str],
) -> Modules:
    """Read modules; see `MultiAgentRLModule.from_checkpoint`."""
    tree = read_checkpoint(directory, kind=KIND)
    in_words(directory, lambda: check_keys(tree, {"class", "modules", "weights"}, where="the state"))
    entries = in_words(directory, lambda: _wanted(tree, module_ids, {*(module_ids or ()), *module_classes}))
    made = cls
    if cls is MultiAgentRLModule:
        made = in_words(
            directory,
            lambda: resolve_class(tree["class"], what="class", base=cls, trusted=trusted_packages),
        )
    specs = in_words(directory, lambda: _read_specs(entries, module_classes, trusted_packages))
    built = {key: spec for key, spec in specs.items() if not entries[key][1]["added"]}
    modules = rebuilt(directory, lambda: made(MultiAgentRLModuleConfig(modules=built)))
    for key in [key for key in specs if key not in built and key not in modules]:
        modules.add_module(key, rebuilt(directory, specs[key].build))
    for key in [key for key in modules if key not in entries]:
        modules.remove_module(key)  # what build() makes from nothing may be more than was wanted
    in_words(directory, lambda: modules.set_state(_weights(tree["weights"], entries)))
    return modules


def _weights(weights: Mapping[str, Any], entries: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    own = {OWN: weights[OWN]} if weights.get(OWN) else {}
    return {**{key: weights.get(index, {}) for key, (index, _) in entries.items()}, **own}


def _recipe(modules: MultiAgentRLModule, key: str, *, where: str) -> dict[str, Json] | None:
    """Return what `build()` makes a module from, None if from nothing; of one added later its own recipe."""
    if key in modules._added_ids:
        return written_recipe(modules[key], where=f"{where}: {key}")
    spec = modules.config.modules.get(key)
    return None if spec is None else written_spec(spec, where=f"{where}: {key}")


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
    entries: Mapping[str, tuple[str, Any]],
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
