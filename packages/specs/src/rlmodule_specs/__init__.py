"""Runtime validation of nested tensors: NumPy, PyTorch, TensorFlow and JAX, one grammar, no dependencies."""

from rlmodule_specs.__about__ import __version__

__all__ = ["__version__"]
