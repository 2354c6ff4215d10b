"""TensorFlow implementation of rlmodule-core."""

from rlmodule_tf.__about__ import __version__

__all__ = ["__version__"]
