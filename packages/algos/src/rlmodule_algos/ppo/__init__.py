"""Proximal policy optimization."""

from rlmodule_algos.lazy import lazy_names
from rlmodule_algos.ppo.config import PPOConfig
from rlmodule_algos.ppo.ppo import PPO

__all__ = ["PPO", "PPOConfig", "PPOTorchRLModule"]

__getattr__ = lazy_names(__name__, {"PPOTorchRLModule": "rlmodule_algos.ppo.module_torch"})
