"""PPO, IMPALA, APPO and BC for any RLModule, in one process or on Ray."""

from rlmodule_algos.__about__ import __version__

__all__ = ["__version__"]
