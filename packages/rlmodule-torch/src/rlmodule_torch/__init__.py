"""PyTorch implementation of rlmodule-core."""

from rlmodule_torch.__about__ import __version__

__all__ = ["__version__"]
