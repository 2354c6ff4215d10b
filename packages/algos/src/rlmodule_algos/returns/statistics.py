"""Statistics over real steps. The standard deviation is the population's (divides by n)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@np.errstate(over="ignore", invalid="ignore")  # the learner refuses what is not finite
def standardize(advantages: FloatArray, mask: BoolArray | None = None) -> FloatArray:
    """Return `(A - mean) / std` with the statistics of the steps that count (`mask`; None: all).

    One step has no spread, so it comes back centred only; equal steps come back as 0. Steps that do not
    count come back as 0.

    >>> standardize(np.array([1.0, 3.0])).round(4).tolist()
    [-1.0, 1.0]
    >>> standardize(np.array([1.0, 3.0, np.nan]), np.array([True, True, False])).round(4).tolist()
    [-1.0, 1.0, 0.0]
    """
    real = advantages if mask is None else advantages[mask]
    if not real.size:
        return np.zeros_like(advantages)
    centred: FloatArray = advantages - real.mean()
    if real.size > 1:
        centred /= real.std() + 1e-8
    return centred if mask is None else np.where(mask, centred, 0.0).astype(advantages.dtype)


@np.errstate(over="ignore", invalid="ignore")  # the learner refuses what is not finite
def explained_variance(predictions: FloatArray, targets: FloatArray) -> float:
    """Return `1 - var(targets - predictions) / var(targets)`: 1 is perfect, 0 no better than the mean.

    NaN where the targets do not vary.
    """
    variance = float(np.var(targets))
    return float("nan") if variance == 0.0 else 1.0 - float(np.var(targets - predictions)) / variance
