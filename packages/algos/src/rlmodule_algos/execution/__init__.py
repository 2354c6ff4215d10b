"""Where sampling runs: in this process, or where the machine ends, elsewhere."""

from rlmodule_algos.execution.pool import LocalPool, SamplerPool

__all__ = ["LocalPool", "SamplerPool"]
