"""What the updates of an iteration come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rlmodule_algos.batching import Fragment

COUNTS = ("num_updates", "num_skipped_updates")  # are added up over the updates of an iteration
LATEST = ("num_target_updates",)  # count over the life of the run
EXTREMES = {"lag_min": min, "lag_max": max}


def took_a_step(learned: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether any module took a step: not where none had data, or every gradient was not finite."""
    return any(values["num_updates"] for values in learned.values())


def lags(fragments: Sequence[Fragment], version: int) -> dict[str, float]:
    """Return how many updates the weights that acted are behind those of `version`, over the steps."""
    behind = np.array([version - fragment.weights_version for fragment in fragments])
    mean = float(np.average(behind, weights=[fragment.num_steps for fragment in fragments]))
    return {"lag_min": float(behind.min()), "lag_mean": mean, "lag_max": float(behind.max())}


def merged_results(results: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Return one result a module from those of several updates: the means, and the sums of counts.

    >>> merged_results([{"m": {"lag_max": 1, "entropy": 0.5}}, {"m": {"lag_max": 3, "entropy": 1.5}}])
    {'m': {'lag_max': 3, 'entropy': 1.0}}
    """
    by_module: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        for module_id, values in result.items():
            by_module.setdefault(module_id, []).append(values)
    return {
        module_id: {name: _merged(name, [values[name] for values in several]) for name in several[0]}
        for module_id, several in by_module.items()
    }


def _merged(name: str, values: Sequence[float]) -> float:
    if name in COUNTS:
        return sum(values)
    if name.startswith("curr_") or name in LATEST:
        return values[-1]
    return EXTREMES[name](values) if name in EXTREMES else float(np.mean(values))
