"""Many modules as one: a mapping of ids to RLModules with the same three phases.

A batch is `{id: batch of that module}`, the output `{id: output}`.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from rlmodule_core.module import Batch, Output, RLModule, State
from rlmodule_core.nested_dict import NestedDict

if TYPE_CHECKING:
    from rlmodule_core.module_spec import SingleAgentRLModuleSpec

DEFAULT_MODULE_ID = "default_policy"
T = TypeVar("T")


@dataclass(kw_only=True)
class MultiAgentRLModuleConfig:
    """The recipes of all modules, by id."""

    modules: dict[str, SingleAgentRLModuleSpec] = field(default_factory=dict)


class MultiAgentRLModule:
    """Several RLModules by id. Override `build()` to share parts between them.

    The children may be of any framework. What a framework adds (owning parameters as an `nn.Module`
    does) is in its own package.
    """

    def __init__(self, config: MultiAgentRLModuleConfig | None = None) -> None:
        self.config = config or MultiAgentRLModuleConfig()
        self._rl_modules: dict[str, RLModule] = {}
        self.build()

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

    # --- the three phases ---------------------------------------------------------------------

    def forward_train(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_train` of each module in the batch."""
        return {key: module.forward_train(data, **kwargs) for key, module, data in self._pairs(batch)}

    def forward_exploration(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_exploration` of each module in the batch."""
        return {key: module.forward_exploration(data, **kwargs) for key, module, data in self._pairs(batch)}

    def forward_inference(self, batch: Mapping[str, Batch], **kwargs: Any) -> dict[str, Output]:
        """Call `forward_inference` of each module in the batch."""
        return {key: module.forward_inference(data, **kwargs) for key, module, data in self._pairs(batch)}

    def _pairs(self, batch: Mapping[str, Batch]) -> list[tuple[str, RLModule, Batch]]:
        """Find every module before any of them runs; KeyError that lists the known ids."""
        if not isinstance(batch, Mapping):
            raise ValueError(f"the batch: expected {{module id: batch}}, got {type(batch).__name__}")
        plain = batch.asdict() if isinstance(batch, NestedDict) else batch  # it iterates over its leaves
        return [(key, self[key], data) for key, data in plain.items()]

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

    def keys(self) -> KeysView[str]:
        """Return the ids."""
        return self._rl_modules.keys()

    def values(self) -> ValuesView[RLModule]:
        """Return the modules."""
        return self._rl_modules.values()

    def items(self) -> ItemsView[str, RLModule]:
        """Return (id, module) pairs."""
        return self._rl_modules.items()

    def add_module(self, module_id: str, module: RLModule, override: bool = False) -> None:
        """Add a module; ValueError if the id is taken and `override` is not set."""
        if module_id in self._rl_modules and not override:
            raise ValueError(f"module {module_id!r} is there already; pass override=True to replace it")
        self._rl_modules[module_id] = module

    def remove_module(self, module_id: str, raise_err_if_not_found: bool = True) -> None:
        """Remove a module; KeyError if there is none and `raise_err_if_not_found` is set."""
        if raise_err_if_not_found:
            self[module_id]
        self._rl_modules.pop(module_id, None)

    def foreach_module(self, fn: Callable[[str, RLModule], T]) -> list[T]:
        """Return `fn(id, module)` for every module."""
        return [fn(key, module) for key, module in self.items()]

    # --- state --------------------------------------------------------------------------------

    def get_state(self) -> State:
        """Return `{id: state}`."""
        return {key: module.get_state() for key, module in self.items()}

    def set_state(self, state: State) -> None:
        """Set the state of each module named.

        Raises KeyError for an unknown id and ValueError for states that do not fit; either way all
        modules are as before.
        """
        before = {key: self[key].get_state() for key in state}
        problems = []
        for key, own in state.items():
            try:
                self[key].set_state(own)
            except ValueError as error:
                problems.append(f"{key}: {error}")
        if problems:
            for key, own in before.items():
                self[key].set_state(own)
            raise ValueError("; ".join(problems))

    def as_multi_agent(self) -> MultiAgentRLModule:
        """Return itself."""
        return self
