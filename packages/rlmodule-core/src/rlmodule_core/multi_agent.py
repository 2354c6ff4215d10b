"""Many modules as one: a mapping of ids to RLModules with the same three phases.

A batch is `{id: batch of that module}`, the output `{id: output}`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Never, Self, TypeVar

from rlmodule_core.framework_container import common_kind, in_framework
from rlmodule_core.module import Batch, Output, RLModule, State, call_is_refused
from rlmodule_core.multi_agent_config import OWN as OWN
from rlmodule_core.multi_agent_config import MultiAgentRLModuleConfig as MultiAgentRLModuleConfig
from rlmodule_core.multi_agent_config import id_problems, name_module, require_modules
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.state import check_same_state, flatten_states, nest_state, tie_problems, with_ties
from rlmodule_specs import SpecError

DEFAULT_MODULE_ID = "default_policy"

T = TypeVar("T")


class Place(NamedTuple):
    """A tensor of a module; unlike dotted names, places of different modules never coincide."""

    module_id: str
    name: str

    def __str__(self) -> str:
        return f"{self.module_id}.{self.name}"


class MultiAgentRLModule(Mapping[str, RLModule]):
    """Several RLModules by id. Override `build()` to share parts between them.

    Its modules decide what else it is: holding modules of PyTorch alone it is an `nn.Module` that owns
    them, of TensorFlow a `tf.Module` (`TorchMultiAgentRLModule`, `TfMultiAgentRLModule`), also if it is
    of a class of your own that knows no framework. What modules share is one parameter then.
    """

    written_in: ClassVar[type[MultiAgentRLModule]]
    """The class as its author wrote it, before it became a framework's."""

    def __init__(self, config: MultiAgentRLModuleConfig | None = None) -> None:
        if config is not None and not isinstance(config, MultiAgentRLModuleConfig):
            raise ValueError(
                f"{type(self).__name__}: config: expected a MultiAgentRLModuleConfig or None, got "
                f"{type(config).__qualname__}; pass MultiAgentRLModuleConfig(modules={{module id: spec}}), "
                "or build it with MultiAgentRLModuleSpec(module_specs={module id: spec}).build()"
            )
        self.config = config or MultiAgentRLModuleConfig()
        self._rl_modules: Mapping[str, RLModule] = {}
        self._added_ids: set[str] = set()  # those that `build` did not make
        self.build()
        require_modules(
            self._rl_modules, where=f"{type(self).__name__}.build", some=bool(self.config.modules)
        )
        self._settle()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Remember the class as written."""
        super().__init_subclass__(**kwargs)
        cls.written_in = cls

    def build(self) -> None:
        """Fill `self._rl_modules`: here one module a recipe, nothing shared.

        Raises ValueError that names every id whose recipe lacks something.
        """
        incomplete = [
            f"{key} ({', '.join(missing)})"
            for key, spec in self.config.modules.items()
            if (missing := spec.missing_fields())
        ]
        if incomplete:
            raise ValueError(f"MultiAgentRLModule.build: not set for {'; '.join(incomplete)}")
        self._rl_modules = {key: spec.build() for key, spec in self.config.modules.items()}

    # --- the framework's own container --------------------------------------------------------

    def _settle(self) -> None:
        """Become the framework's own kind of container. ValueError if the modules are of several."""
        kind = common_kind(self, where=type(self).__name__)
        if kind is not None and not isinstance(self, kind):
            self.__class__ = in_framework(type(self), kind)
        self._own()

    def _own(self) -> None:
        """Let the framework know the modules; called after `build()` and after each change."""

    # --- the three phases ---------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse with TypeError: there is no forward without a phase. (A class may define its own.)"""
        raise TypeError(call_is_refused(type(self).__name__))

    def forward_train(self, batch: Mapping[Any, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_train` of each module in the batch."""
        return self._forward_each("forward_train", batch, kwargs)

    def forward_exploration(self, batch: Mapping[Any, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_exploration` of each module in the batch."""
        return self._forward_each("forward_exploration", batch, kwargs)

    def forward_inference(self, batch: Mapping[Any, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_inference` of each module in the batch."""
        return self._forward_each("forward_inference", batch, kwargs)

    def _forward_each(
        self, forward: str, batch: Mapping[Any, Batch], kwargs: dict[str, Any]
    ) -> dict[str, Output]:
        """Find every module before any of them runs, then run one after the other.

        Raises KeyError that lists the known ids, and SpecError that begins with the id of its module.
        """
        if not isinstance(batch, Mapping):
            raise ValueError(f"the batch: expected {{module id: batch}}, got {type(batch).__name__}")
        plain = batch.asdict() if isinstance(batch, NestedDict) else batch  # it iterates over its leaves
        calls = [(key, getattr(self[key], forward), data) for key, data in plain.items()]
        outputs = {}
        for key, call, data in calls:
            try:
                outputs[key] = call(data, **kwargs)
            except SpecError as error:
                name_module(error, key)
                raise
        return outputs

    # --- a mapping ----------------------------------------------------------------------------

    def __getitem__(self, module_id: str) -> RLModule:
        try:
            return self._rl_modules[module_id]
        except KeyError:
            raise KeyError(f"no module {module_id!r}; the ids are {sorted(self._rl_modules)}") from None

    def __contains__(self, module_id: object) -> bool:
        return module_id in self._rl_modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._rl_modules)

    def __len__(self) -> int:
        return len(self._rl_modules)

    def __setitem__(self, module_id: str, module: Never) -> None:
        raise TypeError(
            f"{type(self).__name__}: call add_module({module_id!r}, module); it has override=True for an id "
            "that is taken"
        )

    __eq__ = object.__eq__  # as a module: itself and no other; a Mapping would compare and not hash
    __hash__ = object.__hash__

    def add_module(self, module_id: str, module: RLModule, override: bool = False) -> None:
        """Add a module.

        Raises ValueError if the id is none, or taken and `override` is not set, if it is no RLModule, or
        if it is of another framework than the others.
        """
        if problems := id_problems([module_id]):
            raise ValueError(problems[0])
        if not isinstance(module, RLModule):
            kind = module if isinstance(module, type) else type(module).__name__
            raise ValueError(f"module {module_id!r}: expected an RLModule, got {kind}")
        if module_id in self._rl_modules and not override:
            raise ValueError(f"module {module_id!r} is there already; pass override=True to replace it")
        others = {other.framework for key, other in self.items() if key != module_id}
        if others - {module.framework}:
            raise ValueError(
                f"module {module_id!r} is of {module.framework}, the others are of {others.pop()}"
            )
        self._rl_modules = {**self._rl_modules, module_id: module}
        self._added_ids.add(module_id)
        self._settle()

    def remove_module(self, module_id: str, raise_err_if_not_found: bool = True) -> None:
        """Remove a module; KeyError if there is none and `raise_err_if_not_found` is set.

        What it shared with others stays with them.
        """
        if raise_err_if_not_found:
            self[module_id]
        self._keep_only([key for key in self if key != module_id])

    def _keep_only(self, ids: Iterable[str]) -> None:
        """Hold these modules alone, in this order."""
        self._rl_modules = {key: self[key] for key in ids}
        self._added_ids &= set(self._rl_modules)
        self._settle()

    def foreach_module(self, fn: Callable[[str, RLModule], T]) -> list[T]:
        """Return `fn(id, module)` for every module."""
        return [fn(key, module) for key, module in self.items()]

    # --- state --------------------------------------------------------------------------------

    def get_state(self) -> State:
        """Return `{id: state}`; what modules share is one array in each of their states.

        What only the container holds, a layer that `build()` set as an attribute, is under `__own__`.
        """
        states = flatten_states({key: module.get_state() for key, module in self.items()}, where="get_state")
        tied = with_ties(self._tensors(), _joined(states))
        nested = {
            key: nest_state({name: tied[Place(key, name)] for name in state}) for key, state in states.items()
        }
        own = self._own_arrays()
        return {**nested, OWN: nest_state(own)} if own else nested

    def set_state(self, state: State) -> None:
        """Set the state of each module named.

        Raises KeyError for an unknown id and ValueError for states that do not fit, or that give a
        shared parameter two values; either way all modules are as before.
        """
        flat = flatten_states(state, where=(where := f"{type(self).__name__}.set_state"))
        mine = flat.pop(OWN, {})
        before, own_before = {key: self[key].get_state() for key in flat}, self._own_arrays()
        if OWN in state:
            check_same_state(own_before, mine, where=where)
        problems = tie_problems(self._tensors(), _joined(flat))
        try:
            for key in flat if not problems else ():
                try:
                    self[key].set_state(state[key])
                except ValueError as error:
                    problems.append(f"{key}: {error}")
            if problems:
                raise ValueError("; ".join(problems))
            self._set_own_arrays(mine)
        except BaseException:
            for key, old in before.items():
                self[key].set_state(old)
            self._set_own_arrays(own_before)
            raise

    def _tensors(self) -> dict[Place, Any]:
        """Return the live tensors of all modules that tell theirs."""
        return _joined({key: module._tensors() for key, module in self.items()})

    def _own_arrays(self) -> dict[str, Any]:
        """Return copies of what belongs to the container and to none of its modules, by dotted name."""
        return {}

    def _set_own_arrays(self, arrays: Mapping[str, Any]) -> None:
        """Take over what `_own_arrays` returned."""

    def _own_dtypes(self) -> dict[str, str]:
        """Return their dtypes."""
        return {}

    def _take_own_dtypes(self, dtypes: Mapping[str, str]) -> None:
        """Turn what belongs to the container into these dtypes, where the framework can."""

    def save_to_checkpoint(self, directory: str | Path) -> Path:
        """Write recipes and weights as the directory `directory`, shared weights once; return its path.

        It is whole or absent, and replaces an older checkpoint of its kind. Raises CheckpointError that
        names the module which could not be built again, and if the folder holds anything else.
        """
        from rlmodule_core.multi_agent_checkpoint import save_modules

        return save_modules(self, directory)

    @classmethod
    def from_checkpoint(
        cls,
        directory: str | Path,
        *,
        module_ids: Collection[str] | None = None,
        module_classes: Mapping[str, type[RLModule]] | None = None,
        trusted_packages: tuple[str, ...] = (),
    ) -> Self:
        """Build the modules that `save_to_checkpoint` wrote, or just those of `module_ids`.

        What they shared they share again. Called on `MultiAgentRLModule` it makes the class that the
        file names, else the class it is called on. Classes are followed by name as in
        `RLModule.from_checkpoint`; `module_classes` gives them by id in place of the names.

        Raises CheckpointError for all that is wrong with the files or does not fit.
        """
        from rlmodule_core.multi_agent_checkpoint import load_modules

        return load_modules(cls, directory, module_ids, module_classes, trusted_packages)

    def as_multi_agent(self) -> Self:
        """Return itself."""
        return self


MultiAgentRLModule.written_in = MultiAgentRLModule


def _joined(by_id: Mapping[str, Mapping[str, Any]]) -> dict[Place, Any]:
    return {Place(key, name): value for key, flat in by_id.items() for name, value in flat.items()}
