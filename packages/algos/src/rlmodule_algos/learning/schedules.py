"""Settings that change with the number of environment steps sampled."""

from __future__ import annotations

import numpy as np

from rlmodule_algos.settings import Schedule


def value_at(setting: float | Schedule, env_steps: int) -> float:
    """Return a setting's value after so many environment steps: linear between the points.

    >>> value_at(0.1, 500), value_at([[0, 1.0], [1000, 0.0]], 250), value_at([[0, 1.0], [1000, 0.0]], 5000)
    (0.1, 0.75, 0.0)
    """
    if isinstance(setting, (int, float)):
        return float(setting)
    steps, values = zip(*setting, strict=True)
    return float(np.interp(env_steps, steps, values))
