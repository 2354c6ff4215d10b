"""Where sampling runs: in this process, or where the machine ends, elsewhere."""

from rlmodule_algos.execution.errors import EnvRunnerError
from rlmodule_algos.execution.fleet import FaultTolerance
from rlmodule_algos.execution.pool import LocalPool, SamplerPool
from rlmodule_algos.execution.remote_pool import RemotePool

__all__ = ["EnvRunnerError", "FaultTolerance", "LocalPool", "RemotePool", "SamplerPool"]
