"""What IMPALA and APPO share: settings, and those that act being behind those that learn."""

from rlmodule_algos.actor_learner.algorithm import ActorLearner
from rlmodule_algos.actor_learner.config import ActorLearnerConfig, ActorLearnerSettings
from rlmodule_algos.actor_learner.results import merged_results, took_a_step

__all__ = ["ActorLearner", "ActorLearnerConfig", "ActorLearnerSettings", "merged_results", "took_a_step"]
