"""Advantages and value targets, once, in NumPy."""

from rlmodule_algos.returns.gae import gae
from rlmodule_algos.returns.statistics import explained_variance, standardize

__all__ = ["explained_variance", "gae", "standardize"]
