"""Many modules as one `nn.Module`, which owns them and the parameters that they share."""

from __future__ import annotations

from typing import Any

from torch import nn

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleConfig


class TorchMultiAgentRLModule(MultiAgentRLModule, nn.Module):
    """A `MultiAgentRLModule` of PyTorch modules.

    `parameters()` lists a shared one once; `to()`, `state_dict()`, hooks and copies work as for any
    `nn.Module`. Layers that `build()` sets as attributes are owned too.
    """

    def __init__(self, config: MultiAgentRLModuleConfig | None = None) -> None:
        nn.Module.__init__(self)
        MultiAgentRLModule.__init__(self, config)

    def _own(self) -> None:
        if "_modules" not in vars(self):  # built as a container that knew no framework
            attributes = dict(vars(self))
            nn.Module.__init__(self)
            for name, value in attributes.items():
                vars(self).pop(name, None)
                setattr(self, name, value)
        self.rl_modules = _Children(dict(self._rl_modules))

    def add_module(self, module_id: str, module: Any, override: bool = False) -> None:
        """Add an RLModule under its id, not a layer under a name; see `MultiAgentRLModule.add_module`."""
        MultiAgentRLModule.add_module(self, module_id, module, override)


class _Children(nn.Module):
    """The modules by id, which may be any str, as it may not for `nn.Module.add_module`."""

    def __init__(self, modules: dict[str, Any]) -> None:
        super().__init__()
        self._modules = modules
