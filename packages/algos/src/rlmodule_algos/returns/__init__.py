"""Advantages and value targets, once, in NumPy."""

from rlmodule_algos.returns.gae import gae
from rlmodule_algos.returns.statistics import explained_variance, standardize
from rlmodule_algos.returns.vtrace import MAX_LOG_RATIO, VTrace, vtrace

__all__ = ["MAX_LOG_RATIO", "VTrace", "explained_variance", "gae", "standardize", "vtrace"]
