"""APPO as IMPACT has it: IMPALA with a target network, a clipped surrogate and batches used again."""

from typing import TYPE_CHECKING

from rlmodule_algos.appo.appo import APPO
from rlmodule_algos.appo.config import APPOConfig
from rlmodule_algos.lazy import lazy_names

if TYPE_CHECKING:
    from rlmodule_algos.appo.module_tf import APPOTfRLModule
    from rlmodule_algos.appo.module_torch import APPOTorchRLModule

__all__ = ["APPO", "APPOConfig", "APPOTfRLModule", "APPOTorchRLModule"]

__getattr__ = lazy_names(
    __name__,
    {
        "APPOTfRLModule": "rlmodule_algos.appo.module_tf",
        "APPOTorchRLModule": "rlmodule_algos.appo.module_torch",
    },
)
