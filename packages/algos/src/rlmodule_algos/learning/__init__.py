"""From batches to better weights."""

from rlmodule_algos.learning.kl import adapted_kl_coefficient
from rlmodule_algos.learning.learner import Learner, Limit, OptimizerSettings, UpdateResult
from rlmodule_algos.learning.schedules import value_at

__all__ = ["Learner", "Limit", "OptimizerSettings", "UpdateResult", "adapted_kl_coefficient", "value_at"]
