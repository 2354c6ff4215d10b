"""Behaviour cloning: supervised learning of recorded actions."""

from typing import TYPE_CHECKING

from rlmodule_algos.bc.bc import BC
from rlmodule_algos.bc.config import BCConfig
from rlmodule_algos.lazy import lazy_names

if TYPE_CHECKING:
    from rlmodule_algos.bc.module_tf import BCTfRLModule
    from rlmodule_algos.bc.module_torch import BCTorchRLModule

__all__ = ["BC", "BCConfig", "BCTfRLModule", "BCTorchRLModule"]

__getattr__ = lazy_names(
    __name__,
    {
        "BCTorchRLModule": "rlmodule_algos.bc.module_torch",
        "BCTfRLModule": "rlmodule_algos.bc.module_tf",
    },
)
