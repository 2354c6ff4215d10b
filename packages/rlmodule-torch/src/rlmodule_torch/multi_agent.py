"""Many modules as one `nn.Module`, which owns them and the parameters that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleConfig
from rlmodule_core.module import call_is_refused
from rlmodule_torch.arrays import _as_arrays, _take_dtypes, _write_arrays, dtypes_of


class TorchMultiAgentRLModule(MultiAgentRLModule, nn.Module):
    """A `MultiAgentRLModule` of PyTorch modules.

    `parameters()` lists a shared one once; `to()`, `state_dict()`, hooks and copies work as for any
    `nn.Module`. Layers that `build()` sets as attributes are owned too.
    """

    def __init__(self, config: MultiAgentRLModuleConfig | None = None) -> None:
        nn.Module.__init__(self)
        MultiAgentRLModule.__init__(self, config)

    __call__ = nn.Module.__call__  # so that a class may define `forward`, and hooks see it

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse with TypeError what calling the container comes to, unless a class defines its own."""
        raise TypeError(call_is_refused(type(self).__name__))

    def _own(self) -> None:
        if "_modules" not in vars(self):  # built as a container that knew no framework
            attributes = dict(vars(self))
            nn.Module.__init__(self)
            for name, value in attributes.items():
                vars(self).pop(name, None)
                setattr(self, name, value)
        modules = dict(self._rl_modules)
        self._modules.pop("_rl_modules", None)  # build() may have set an nn.ModuleDict
        vars(self)["_rl_modules"] = modules
        self._owned = _Children(dict(modules))

    def _own_tensors(self) -> dict[str, Tensor]:
        held = {id(tensor) for module in self.values() for tensor in module._tensors().values()}
        every = self.state_dict(keep_vars=True)
        return {
            name: tensor
            for name, tensor in every.items()
            if not name.startswith("_owned.") and id(tensor) not in held
        }

    def _own_arrays(self) -> dict[str, Any]:
        return _as_arrays(self._own_tensors(), where=f"{type(self).__name__}.get_state")

    def _set_own_arrays(self, arrays: Mapping[str, Any]) -> None:
        _write_arrays(self._own_tensors(), arrays)

    def _own_dtypes(self) -> dict[str, str]:
        return dtypes_of(self._own_tensors())

    def _take_own_dtypes(self, dtypes: Mapping[str, str]) -> None:
        _take_dtypes(self._own_tensors(), dtypes)

    def add_module(self, module_id: str, module: Any, override: bool = False) -> None:
        """Add an RLModule under its id, not a layer under a name; see `MultiAgentRLModule.add_module`."""
        MultiAgentRLModule.add_module(self, module_id, module, override)


class _Children(nn.Module):
    """The modules by id, which may be any str, as it may not for `nn.Module.add_module`."""

    def __init__(self, modules: dict[str, Any]) -> None:
        super().__init__()
        self._modules = modules
