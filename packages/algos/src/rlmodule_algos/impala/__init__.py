"""IMPALA: actors that lag behind, corrected by V-trace."""

from typing import TYPE_CHECKING

from rlmodule_algos.impala.config import ImpalaConfig
from rlmodule_algos.impala.impala import Impala
from rlmodule_algos.lazy import lazy_names

if TYPE_CHECKING:
    from rlmodule_algos.impala.module_tf import ImpalaTfRLModule
    from rlmodule_algos.impala.module_torch import ImpalaTorchRLModule

__all__ = ["Impala", "ImpalaConfig", "ImpalaTfRLModule", "ImpalaTorchRLModule"]

__getattr__ = lazy_names(
    __name__,
    {
        "ImpalaTfRLModule": "rlmodule_algos.impala.module_tf",
        "ImpalaTorchRLModule": "rlmodule_algos.impala.module_torch",
    },
)
