"""Acting in environments and recording what happened."""

from rlmodule_algos.sampling.acting import Actor, Draw, require_one_logp_each
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.agents import PolicyMapping
from rlmodule_algos.sampling.env_runner import EnvRunner
from rlmodule_algos.sampling.episode_counts import EpisodeCounts, EpisodeMeter, MergedEpisodes
from rlmodule_algos.sampling.episodes import AgentEpisodeTracker, Episode, Episodes, EpisodeTracker
from rlmodule_algos.sampling.evaluation import evaluate_episodes
from rlmodule_algos.sampling.multi_agent_runner import MultiAgentEnvRunner, evaluate_agents
from rlmodule_algos.sampling.recurrent_state import CarriedState
from rlmodule_algos.sampling.world import Played, Runner, Spaces, World, make_world

__all__ = [
    "Actor",
    "AgentEpisodeTracker",
    "CarriedState",
    "Draw",
    "EnvRunner",
    "Episode",
    "EpisodeCounts",
    "EpisodeMeter",
    "EpisodeTracker",
    "Episodes",
    "MergedEpisodes",
    "MultiAgentEnvRunner",
    "Played",
    "PolicyMapping",
    "Runner",
    "Spaces",
    "World",
    "action_filter",
    "evaluate_agents",
    "evaluate_episodes",
    "make_world",
    "require_one_logp_each",
]
