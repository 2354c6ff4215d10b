"""Environments, whatever they come as, seen as one stream of transitions."""

from rlmodule_algos.envs.agent_groups import AgentGroups, Columns
from rlmodule_algos.envs.cartpole import ManualCartPoles, MultiAgentCartPole
from rlmodule_algos.envs.errors import EnvError
from rlmodule_algos.envs.failures import env_failed
from rlmodule_algos.envs.make import EnvSource, SideBySide, make_env, make_vector_env
from rlmodule_algos.envs.multi_agent import MultiAgentEnv
from rlmodule_algos.envs.multi_agent_vector import MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.envs.pettingzoo import ParallelEnvAdapter
from rlmodule_algos.envs.registered import register_missing, registrations
from rlmodule_algos.envs.stream import EnvStream, Transition
from rlmodule_algos.envs.sync_multi_agent import SyncMultiAgentVectorEnv

__all__ = [
    "AgentGroups",
    "Columns",
    "EnvError",
    "EnvSource",
    "EnvStream",
    "ManualCartPoles",
    "MultiAgentCartPole",
    "MultiAgentEnv",
    "MultiAgentStep",
    "MultiAgentVectorEnv",
    "ParallelEnvAdapter",
    "SideBySide",
    "SyncMultiAgentVectorEnv",
    "Transition",
    "env_failed",
    "make_env",
    "make_vector_env",
    "register_missing",
    "registrations",
]
