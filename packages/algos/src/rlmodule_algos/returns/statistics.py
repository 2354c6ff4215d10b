"""Statistics over real steps. The standard deviation is the population's (divides by n)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


def standardize(advantages: FloatArray) -> FloatArray:
    """Return `(A - mean) / std` of a flat array of real steps.

    One step has no spread, so it comes back centred only; equal steps come back as 0.

    >>> standardize(np.array([1.0, 3.0])).round(4).tolist()
    [-1.0, 1.0]
    """
    centred: FloatArray = advantages - advantages.mean()
    return centred if len(centred) < 2 else centred / (centred.std() + 1e-8)


def explained_variance(predictions: FloatArray, targets: FloatArray) -> float:
    """Return `1 - var(targets - predictions) / var(targets)`: 1 is perfect, 0 no better than the mean.

    NaN where the targets do not vary.
    """
    variance = float(np.var(targets))
    return float("nan") if variance == 0.0 else 1.0 - float(np.var(targets - predictions)) / variance
