"""The RLModule: one network container with three phases, each checked against its specs.

What users subclass is `TorchRLModule` or `TfRLModule`; this is the part that knows no framework.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Never, Self, TypeAlias

import numpy as np

from rlmodule_core.columns import Columns
from rlmodule_core.distribution import Distribution, in_words
from rlmodule_core.module_config import RLModuleConfig
from rlmodule_core.module_meta import RLModuleMeta
from rlmodule_core.nest import Nest
from rlmodule_core.overrides import PUBLIC_FORWARDS
from rlmodule_core.spaces import spec_from_space
from rlmodule_core.spec_methods import call_checkers
from rlmodule_core.state import check_initial_state, flatten_state
from rlmodule_specs import SpecError, SpecType

if TYPE_CHECKING:
    from rlmodule_core.catalog_protocol import CatalogClass
    from rlmodule_core.multi_agent import MultiAgentRLModule

Batch: TypeAlias = Mapping[Any, Any]
"""Column name -> array, or a nested mapping of them; of which class, the framework says. (The keys of
a NestedDict may be paths, so they are not just str.)"""

Output: TypeAlias = Mapping[str, Any]
State: TypeAlias = dict[str, Any]
"""A nested dict with NumPy arrays at its leaves, the same form in every framework."""


class RLModule(metaclass=RLModuleMeta):
    """A network with three phases: training, exploration (acting to learn) and inference (acting).

    Override `_forward_exploration` and `_forward_inference`, and `_forward_train` where training
    computes more than exploring. Each takes the batch, a mapping, under whatever type you write for
    it. Narrow the six `input_specs_*` and `output_specs_*` where the defaults, derived from the
    observation space, allow too much; they are asked once, after the constructor. Call `forward_*`,
    which check the batch before and the output after, and raise SpecError.
    """

    framework: ClassVar[str]
    config: RLModuleConfig
    """What the module was built from; None where its constructor passed None. It is typed as if it
    were always there, since a module that reads it was given one."""

    action_dist_classes: ClassVar[tuple[type, ...]] = (Distribution,)
    """What the default output specs take for an `action_dist`: ours, and what the framework has itself."""

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        if not isinstance(config, (RLModuleConfig, NoneType)):
            raise ValueError(
                f"{type(self).__name__}: config: expected an RLModuleConfig or None, got "
                f"{type(config).__qualname__}; pass RLModuleConfig(observation_space=..., action_space=...), "
                "or build the module from its SingleAgentRLModuleSpec with build()"
            )
        self.config = config  # type: ignore[assignment]  # see above

    def _finish(self) -> None:
        """Run once after the most derived constructor."""
        check_initial_state(self.get_initial_state(), where=f"{type(self).__name__}.get_initial_state")
        checks = call_checkers(self)
        self._check_train = checks["train"]
        self._check_exploration = checks["exploration"]
        self._check_inference = checks["inference"]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PUBLIC_FORWARDS:
            raise TypeError(
                f"{type(self).__name__}.{name} cannot be set, as its checks would be lost; override "
                f"_{name} in the class, or set that"
            )
        super().__setattr__(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse with TypeError: there is no forward without a phase. (A class may define its own.)"""
        raise TypeError(call_is_refused(type(self).__name__))

    # --- the three phases ---------------------------------------------------------------------

    def forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        """Compute what a loss needs, with gradients, in train mode."""
        check = self._check_train
        sizes = check.input(batch)
        output = self._run_train(batch, **kwargs) if kwargs else self._run_train(batch)
        check.output(output, sizes)
        return output

    def forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        """Act while learning: actions are drawn from `action_dist`. No gradient, eval mode."""
        check = self._check_exploration
        sizes = check.input(batch)
        output = self._run_exploration(batch, **kwargs) if kwargs else self._run_exploration(batch)
        try:
            check.output(output, sizes)
        except SpecError as error:
            raise in_words(error, self.action_dist_classes) from None
        return output

    def forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        """Act as learned: `action_dist` is taken at its mode. No gradient, eval mode."""
        check = self._check_inference
        sizes = check.input(batch)
        output = self._run_inference(batch, **kwargs) if kwargs else self._run_inference(batch)
        try:
            check.output(output, sizes)
        except SpecError as error:
            raise in_words(error, self.action_dist_classes) from None
        return output

    # The argument lists are open, so that an override may name and type its own.

    def _forward_train(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output:
        """By default what exploring computes, here with its gradient."""
        if args or kwargs:
            return self._forward_exploration(batch, *args, **kwargs)
        return self._forward_exploration(batch)

    @abc.abstractmethod
    def _forward_exploration(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output: ...

    @abc.abstractmethod
    def _forward_inference(self, batch: Any, /, *args: Any, **kwargs: Any) -> Output: ...

    # What a framework puts around a forward (gradient mode, train or eval) goes into these three.

    def _run_train(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch, **kwargs)

    def _run_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_exploration(batch, **kwargs)

    def _run_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_inference(batch, **kwargs)

    # --- what goes in and out -----------------------------------------------------------------

    def input_specs_train(self) -> SpecType:
        """Return what a training batch must hold: observations of the config's space."""
        return self._input_specs()

    def input_specs_exploration(self) -> SpecType:
        """Return what a batch to explore on must hold: observations of the config's space."""
        return self._input_specs()

    def input_specs_inference(self) -> SpecType:
        """Return what a batch to act on must hold: observations of the config's space."""
        return self._input_specs()

    def output_specs_train(self) -> SpecType:
        """Return what a training forward must give: by default nothing in particular."""
        return {}

    def output_specs_exploration(self) -> SpecType:
        """Return what exploring must give: an action distribution, ours or the framework's own."""
        return {Columns.ACTION_DIST: self.action_dist_classes}

    def output_specs_inference(self) -> SpecType:
        """Return what acting must give: an action distribution, ours or the framework's own."""
        return {Columns.ACTION_DIST: self.action_dist_classes}

    def _input_specs(self) -> SpecType:
        space = None if self.config is None else self.config.observation_space
        if space is None:
            return [Columns.OBS]
        return {Columns.OBS: spec_from_space(space, framework=self.framework)}

    # --- everything else ----------------------------------------------------------------------

    @property
    def device(self) -> object:
        """Where the batches must be, in the framework's words; None where there is no choice."""
        return None

    @device.setter
    def device(self, value: Never) -> None:
        raise ValueError(device_is_taken(type(self).__name__))

    def is_stateful(self) -> bool:
        """Whether the forwards take `state_in` and return `state_out`."""
        return bool(self.get_initial_state())

    def get_initial_state(self) -> State:
        """Return the state at the start of an episode, without batch axis; empty if stateless."""
        return {}

    @abc.abstractmethod
    def get_state(self) -> State:
        """Return copies of all weights as a nested dict of NumPy arrays."""

    @abc.abstractmethod
    def set_state(self, state: State) -> None:
        """Take over weights; ValueError that lists what does not fit, before any is changed."""

    def _tensors(self) -> Mapping[str, Any]:
        """Return the live tensors behind `get_state`, by dotted name; a tied one under each of its names.

        Empty for a module that keeps its state elsewhere: nothing is known then of what it shares.
        """
        return {}

    def _dtypes(self) -> dict[str, str]:
        """Return the dtypes of the weights by dotted name, also those that no array of a state has."""
        return {name: np.asarray(array).dtype.name for name, array in flatten_state(self.get_state()).items()}

    def _take_dtypes(self, dtypes: Mapping[str, str]) -> None:
        """Turn the weights into these dtypes, where the framework can; what stays is refused when loading."""

    def save_to_checkpoint(self, directory: str | Path) -> Path:
        """Write class name, config and weights as the directory `directory`, and return its path.

        It is whole or absent, whatever happens meanwhile, and replaces an older module checkpoint.
        Raises CheckpointError if the folder holds anything else, or if the module could not be built
        again: from a class inside a function, or without a config.
        """
        from rlmodule_core.module_checkpoint import save_module

        return save_module(self, directory)

    @classmethod
    def from_checkpoint(
        cls,
        directory: str | Path,
        *,
        module_class: type[RLModule] | None = None,
        catalog_class: CatalogClass | None = None,
        trusted_packages: tuple[str, ...] = (),
    ) -> Self:
        """Build the module that `save_to_checkpoint` wrote.

        Called on a class that can be built it makes that class. Called on a base (`RLModule`, say) it
        makes `module_class`, or the class that the file names; that name is followed only if it is
        ours, was registered (`register_class`), or lies in one of `trusted_packages`, for importing
        what a file names runs its code. The same holds for the catalog.

        Raises CheckpointError for all that is wrong with the files or does not fit.
        """
        from rlmodule_core.module_checkpoint import load_module

        return load_module(cls, directory, module_class, catalog_class, trusted_packages)

    def update_normalizer(self, obs: Nest) -> None:
        """Merge observations, a NumPy nest `[N, ...]`, into the running mean and deviation, if there are any.

        Forwards leave these as they are, so that acting and learning see the same until it is called.
        """

    def numpy_form(self) -> RLModule | None:
        """Return a NumPy module that acts exactly as this one, over the same memory, or None."""
        return None

    def unwrapped(self) -> RLModule:
        """Return the module itself; a wrapper returns what it wraps."""
        return self

    @classmethod
    def multi_agent_class(cls) -> type[MultiAgentRLModule]:
        """Return the container that owns modules of this framework as the framework does."""
        from rlmodule_core.multi_agent import MultiAgentRLModule

        return MultiAgentRLModule

    def as_multi_agent(self) -> MultiAgentRLModule:
        """Return a multi-agent module that holds just this one, as `default_policy`."""
        from rlmodule_core.multi_agent import DEFAULT_MODULE_ID, MultiAgentRLModule

        modules = MultiAgentRLModule()
        modules.add_module(DEFAULT_MODULE_ID, self)
        return modules


def call_is_refused(name: str) -> str:
    """Return what to say to one who calls a module itself."""
    return (
        f"{name} cannot be called itself: call forward_train(batch) to learn, forward_exploration(batch) to "
        "act while learning, forward_inference(batch) to act as learned"
    )


def device_is_taken(name: str) -> str:
    """Return what to say to one who sets a module's `device`."""
    return (
        f"{name}.device cannot be set: it says where the weights are, so that callers put batches there, and "
        "follows them when they move; read it, or keep a device of yours under another name"
    )
