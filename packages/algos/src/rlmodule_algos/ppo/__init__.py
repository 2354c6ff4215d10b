"""Proximal policy optimization."""

from typing import TYPE_CHECKING

from rlmodule_algos.lazy import lazy_names
from rlmodule_algos.ppo.config import PPOConfig
from rlmodule_algos.ppo.ppo import PPO

if TYPE_CHECKING:
    from rlmodule_algos.ppo.module_tf import PPOTfRLModule
    from rlmodule_algos.ppo.module_torch import PPOTorchRLModule

__all__ = ["PPO", "PPOConfig", "PPOTfRLModule", "PPOTorchRLModule"]

__getattr__ = lazy_names(
    __name__,
    {
        "PPOTfRLModule": "rlmodule_algos.ppo.module_tf",
        "PPOTorchRLModule": "rlmodule_algos.ppo.module_torch",
    },
)
