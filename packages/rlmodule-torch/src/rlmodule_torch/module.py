"""The RLModule of PyTorch: an `nn.Module` with three checked phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from rlmodule_core import Distribution, RLModule, RLModuleConfig
from rlmodule_core.module import Batch, Output, State
from rlmodule_core.state import check_same_state, flatten_state, nest_state, with_ties
from rlmodule_torch.arrays import _take_dtypes, as_array, dtypes_of
from rlmodule_torch.modes import _depends_on_mode, _registrations
from rlmodule_torch.multi_agent import TorchMultiAgentRLModule


class TorchRLModule(nn.Module, RLModule):
    """Subclass this; make layers in `__init__`, after `super().__init__(config)`.

    `forward_exploration` and `forward_inference` run without gradient and in eval mode,
    `forward_train` in train mode; the modes that were found are restored.
    """

    framework: ClassVar[str] = "torch"
    action_dist_classes: ClassVar[tuple[type, ...]] = (Distribution, torch.distributions.Distribution)

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        nn.Module.__init__(self)
        RLModule.__init__(self, config)

    def _finish(self) -> None:
        super()._finish()
        self._look_for_modes()

    def _look_for_modes(self) -> None:
        """Find the layers whose modes are to be switched; again whenever a layer was exchanged somewhere."""
        layers = [module for module in self.modules() if module is not self]
        own = vars(self)  # not attributes of the network
        own["_registrations"] = _registrations[0]
        own["_own_train"] = any(type(module).train is not nn.Module.train for module in layers)
        own["_switched"] = (self, *layers) if any(map(_depends_on_mode, layers)) else ()

    def _run_train(self, batch: Batch, **kwargs: Any) -> Output:
        return self._in_mode(True, self._forward_train, batch, kwargs)

    def _run_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        with torch.no_grad():
            return self._in_mode(False, self._forward_exploration, batch, kwargs)

    def _run_inference(self, batch: Batch, **kwargs: Any) -> Output:
        with torch.no_grad():
            return self._in_mode(False, self._forward_inference, batch, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the modes of layers that a copy has its own of; it looks for them at its first call."""
        return {**vars(self), "_registrations": -1, "_switched": ()}

    def _in_mode(
        self, training: bool, forward: Callable[..., Output], batch: Batch, kwargs: dict[str, Any]
    ) -> Output:
        own = vars(self)
        if own["_registrations"] != _registrations[0]:
            self._look_for_modes()
        switched = own["_switched"]
        if not switched:  # then only this module's own code may ask for the mode
            mode = own["training"]
            own["training"] = training
            try:
                return forward(batch, **kwargs)
            finally:
                own["training"] = mode
        before = [layer.training for layer in switched]
        if own["_own_train"]:
            self.train(training)
        for layer in switched:
            vars(layer)["training"] = training
        try:
            return forward(batch, **kwargs)
        finally:
            for layer, mode in zip(switched, before, strict=True):
                vars(layer)["training"] = mode

    @property
    def device(self) -> torch.device:
        """The device of the weights; the CPU for a module without any."""
        first: Tensor | None = next(self.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @classmethod
    def multi_agent_class(cls) -> type[TorchMultiAgentRLModule]:
        """Return the container that is an `nn.Module`."""
        return TorchMultiAgentRLModule

    def get_state(self) -> State:
        """Return copies of all parameters and buffers as a nested dict of NumPy arrays.

        A parameter that has several names is one array under all of them.
        """
        tensors = self._tensors()
        return nest_state(with_ties(tensors, {name: as_array(t).copy() for name, t in tensors.items()}))

    def set_state(self, state: State) -> None:
        """Write weights into the tensors that are used; ValueError that lists what does not fit."""
        own, new = self._tensors(), flatten_state(state)
        check_same_state(own, new, where=f"{type(self).__name__}.set_state")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(torch.from_numpy(np.array(new[name])))

    def _tensors(self) -> dict[str, Tensor]:
        return self.state_dict(keep_vars=True)

    def _dtypes(self) -> dict[str, str]:
        return dtypes_of(self._tensors())

    def _take_dtypes(self, dtypes: Mapping[str, str]) -> None:
        _take_dtypes(self._tensors(), dtypes)
