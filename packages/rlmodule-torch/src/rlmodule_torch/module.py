"""The RLModule of PyTorch: an `nn.Module` with three checked phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Never

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from rlmodule_core import RLModule, RLModuleConfig
from rlmodule_core.module import Batch, Output, State, call_is_refused, device_is_taken
from rlmodule_core.state import check_same_state, flatten_state, nest_state, with_ties
from rlmodule_torch.arrays import _as_arrays, _take_dtypes, _write_arrays, dtypes_of
from rlmodule_torch.distributions.base import AnyTorchDistribution, TorchDistribution
from rlmodule_torch.modes import _mode_of, _put_back, _Seen, _Switchable
from rlmodule_torch.multi_agent import TorchMultiAgentRLModule


class TorchRLModule(_Switchable, RLModule):
    """Subclass this; make layers in `__init__`, after `super().__init__(config)`.

    `forward_exploration` and `forward_inference` run without gradient and in eval mode,
    `forward_train` in train mode; the modes that were found are restored. A layer, or the module itself,
    that overrides `train()` decides for itself: `super().train(mode); self.norm.eval(); return self` freezes.
    """

    framework: ClassVar[str] = "torch"
    action_dist_classes: ClassVar[tuple[type, ...]] = (
        AnyTorchDistribution,
        TorchDistribution,
        torch.distributions.Distribution,
    )

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        nn.Module.__init__(self)
        RLModule.__init__(self, config)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse with TypeError what calling the module itself comes to, unless a class defines its own."""
        raise TypeError(call_is_refused(type(self).__name__))

    def _run_train(self, batch: Batch, **kwargs: Any) -> Output:
        return self._in_mode(True, self._forward_train, batch, kwargs)

    def _run_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._acting(self._forward_exploration, batch, kwargs)

    def _run_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._acting(self._forward_inference, batch, kwargs)

    def _acting(self, forward: Callable[..., Output], batch: Batch, kwargs: dict[str, Any]) -> Output:
        """Run a forward in eval mode and without gradient; `no_grad` would take a microsecond more."""
        before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)
        try:
            return self._in_mode(False, forward, batch, kwargs)
        finally:
            torch.set_grad_enabled(before)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the layers that were seen: a copy has its own, and looks for them at its first call."""
        return {**vars(self), "_seen": None}

    def _in_mode(
        self, training: bool, forward: Callable[..., Output], batch: Batch, kwargs: dict[str, Any]
    ) -> Output:
        """Run a forward with all layers in train or in eval mode, and restore the modes that were found."""
        if is_compiling():  # the compiler's own guards see to it that no layer comes in
            return self._in_its_own_way(training, forward, batch, kwargs)
        own, seen = self.__dict__, self._seen
        if seen is None or any(seen.empty) or seen.held != seen.held_then:
            seen = own["_seen"] = _Seen(self)  # no attribute of the network
        if seen.own_way:
            return self._in_its_own_way(training, forward, batch, kwargs)
        parts, outer, seen.found = seen.switched, seen.found, None
        if len(parts) == 1:  # then only this module's own code may ask for the mode
            mode, own["training"] = own["training"], training
            try:
                return forward(batch, **kwargs) if kwargs else forward(batch)
            finally:
                if seen.found is not None:
                    _put_back(seen.found)
                own["training"], seen.found = mode, outer
        before, other = [*map(_mode_of, parts)], not training
        if other in before:
            for part in parts:
                part["training"] = training
        try:
            return forward(batch, **kwargs) if kwargs else forward(batch)
        finally:
            if seen.found is not None:
                _put_back(seen.found)
            seen.found = outer
            if training not in before:
                for part in parts:
                    part["training"] = other
            elif [*map(_mode_of, parts)] != before:  # the forward itself may have switched
                for part, mode in zip(parts, before, strict=True):
                    part["training"] = mode

    def _in_its_own_way(
        self, training: bool, forward: Callable[..., Output], batch: Batch, kwargs: dict[str, Any]
    ) -> Output:
        """Do the same by `train()`, which a layer or this module may override, to freeze a part, say."""
        layers = list(self.modules())
        before = [layer.training for layer in layers]
        self.train(training)
        try:
            return forward(batch, **kwargs)
        finally:
            self.train(before[0])  # it may do more than to set flags
            for layer, mode in zip(layers, before, strict=True):
                if layer.training is not mode:
                    layer.training = mode

    @property
    def device(self) -> torch.device:
        """The device of the weights; the CPU for a module without any."""
        first: Tensor | None = next(self.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    @device.setter
    def device(self, value: Never) -> None:
        raise ValueError(device_is_taken(type(self).__name__))

    @classmethod
    def multi_agent_class(cls) -> type[TorchMultiAgentRLModule]:
        """Return the container that is an `nn.Module`."""
        return TorchMultiAgentRLModule

    def get_state(self) -> State:
        """Return copies of all parameters and buffers as a nested dict of NumPy arrays.

        A parameter that has several names is one array under all of them. Raises ValueError that lists
        what has no form as an array.
        """
        tensors = self._tensors()
        return nest_state(with_ties(tensors, _as_arrays(tensors, where=f"{type(self).__name__}.get_state")))

    def set_state(self, state: State) -> None:
        """Write weights into the tensors that are used; ValueError that lists what does not fit."""
        own, new = self._tensors(), flatten_state(state)
        check_same_state(own, new, where=f"{type(self).__name__}.set_state")
        _write_arrays(own, new)

    def _tensors(self) -> dict[str, Tensor]:
        return self.state_dict(keep_vars=True)

    def _dtypes(self) -> dict[str, str]:
        return dtypes_of(self._tensors())

    def _take_dtypes(self, dtypes: Mapping[str, str]) -> None:
        _take_dtypes(self._tensors(), dtypes)
