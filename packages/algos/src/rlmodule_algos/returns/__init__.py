"""Advantages and value targets, once, in NumPy."""

from rlmodule_algos.returns.gae import gae
from rlmodule_algos.returns.statistics import explained_variance, standardize
from rlmodule_algos.returns.vtrace import VTrace, vtrace

__all__ = ["VTrace", "explained_variance", "gae", "standardize", "vtrace"]
