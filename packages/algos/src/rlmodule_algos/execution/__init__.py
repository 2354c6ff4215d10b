"""Where sampling runs: in this process, or where the machine ends, elsewhere."""

from rlmodule_algos.execution.circular_buffer import CircularBuffer, SampledBatch
from rlmodule_algos.execution.errors import EnvRunnerError
from rlmodule_algos.execution.interrupts import held, released
from rlmodule_algos.execution.learner_group import LearnerGroup, LearnerTolerance
from rlmodule_algos.execution.learner_thread import LearnerThread
from rlmodule_algos.execution.pool import LocalPool, OwnModules, SamplerPool
from rlmodule_algos.execution.remote_pool import RemotePool
from rlmodule_algos.execution.tolerance import FaultTolerance

__all__ = [
    "CircularBuffer",
    "EnvRunnerError",
    "FaultTolerance",
    "LearnerGroup",
    "LearnerThread",
    "LearnerTolerance",
    "LocalPool",
    "OwnModules",
    "RemotePool",
    "SampledBatch",
    "SamplerPool",
    "held",
    "released",
]
