"""PPO, IMPALA, APPO and BC for any RLModule, in one process or on Ray."""

from typing import TYPE_CHECKING

from rlmodule_algos.__about__ import __version__
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.appo import APPO, APPOConfig
from rlmodule_algos.bc import BC, BCConfig
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import EnvError, MultiAgentCartPole, MultiAgentEnv
from rlmodule_algos.execution import EnvRunnerError
from rlmodule_algos.impala import Impala, ImpalaConfig
from rlmodule_algos.lazy import other_spellings
from rlmodule_algos.learning import LearnerError
from rlmodule_algos.policy import Policy
from rlmodule_algos.ppo import PPO, PPOConfig
from rlmodule_algos.settings import ConfigError

__all__ = [
    "APPO",
    "BC",
    "PPO",
    "APPOConfig",
    "Algorithm",
    "AlgorithmConfig",
    "BCConfig",
    "ConfigError",
    "EnvError",
    "EnvRunnerError",
    "Impala",
    "ImpalaConfig",
    "LearnerError",
    "MultiAgentCartPole",
    "MultiAgentEnv",
    "PPOConfig",
    "Policy",
    "__version__",
]

if not TYPE_CHECKING:  # type checkers know what there is
    __getattr__ = other_spellings(__name__, {"IMPALA": "Impala", "IMPALAConfig": "ImpalaConfig"})
