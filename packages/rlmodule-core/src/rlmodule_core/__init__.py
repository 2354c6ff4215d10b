"""Framework-neutral contracts for reinforcement-learning modules."""

from rlmodule_core.__about__ import __version__

__all__ = ["__version__"]
