"""From batches to better weights."""

from rlmodule_algos.learning.data_parallel import Added, Gradient, Gradients, Lesson, ParallelLearner
from rlmodule_algos.learning.errors import LearnerError
from rlmodule_algos.learning.kl import adapted_kl_coefficient
from rlmodule_algos.learning.learner import Learner, Limit, OptimizerSettings, UpdateResult
from rlmodule_algos.learning.schedules import value_at
from rlmodule_algos.learning.target_network import TargetNetworks, mixed_state

__all__ = [
    "Added",
    "Gradient",
    "Gradients",
    "Learner",
    "LearnerError",
    "Lesson",
    "Limit",
    "OptimizerSettings",
    "ParallelLearner",
    "TargetNetworks",
    "UpdateResult",
    "adapted_kl_coefficient",
    "mixed_state",
    "value_at",
]
