"""Tiny tasks whose best and blind returns are known exactly, to find out whether something learns."""

from rlmodule_algos.testing.catch import Catch
from rlmodule_algos.testing.crossed_agents import CrossedAgents
from rlmodule_algos.testing.gated_leaves import GatedLeaves
from rlmodule_algos.testing.offline import Episode, episodes
from rlmodule_algos.testing.offline_agents import AgentEpisodes, multi_agent_episodes
from rlmodule_algos.testing.repeat_previous import PreviousEpisodeCue, Recall, RepeatPrevious
from rlmodule_algos.testing.scripted import ScriptedMultiAgentEnv
from rlmodule_algos.testing.stateless_cartpole import StatelessCartPole
from rlmodule_algos.testing.task import Task, TaskPolicy

__all__ = [
    "AgentEpisodes",
    "Catch",
    "CrossedAgents",
    "Episode",
    "GatedLeaves",
    "PreviousEpisodeCue",
    "Recall",
    "RepeatPrevious",
    "ScriptedMultiAgentEnv",
    "StatelessCartPole",
    "Task",
    "TaskPolicy",
    "episodes",
    "multi_agent_episodes",
]
