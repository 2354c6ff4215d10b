"""Acting in environments and recording what happened."""

from rlmodule_algos.sampling.acting import Actor
from rlmodule_algos.sampling.env_runner import EnvRunner, action_filter
from rlmodule_algos.sampling.episodes import Episode, EpisodeTracker
from rlmodule_algos.sampling.evaluation import evaluate_episodes

__all__ = ["Actor", "EnvRunner", "Episode", "EpisodeTracker", "action_filter", "evaluate_episodes"]
