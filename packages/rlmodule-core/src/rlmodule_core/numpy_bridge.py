"""The bridge of modules that work on NumPy arrays themselves: nothing to convert.

The framework packages have a `bridge` with the same names, and more for training.
"""

from __future__ import annotations

from typing import Any

from rlmodule_core.distribution import Distribution
from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.nest import Nest
from rlmodule_core.numpy_distributions import AnyNumpyDistribution


def to_tensors(nest: Nest, device: object = None) -> Nest:
    """Return the arrays as they are."""
    return nest


def to_numpy(nest: Nest) -> Nest:
    """Return the arrays as they are."""
    return nest


def call(module: RLModule, forward: str, batch: Batch) -> Output:
    """Call one of the public forwards, by name."""
    output: Output = getattr(module, forward)(batch)
    return output


def as_distribution(value: object) -> Distribution[Any]:
    """Return a distribution over NumPy arrays as it is. Raises TypeError for anything else."""
    if isinstance(value, Distribution) and isinstance(value, AnyNumpyDistribution):
        return value
    raise AnyNumpyDistribution.refused(value)
