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

    Where a step was taken at all, the means are over those: the numbers of one that was not may be anything.

    >>> steps = [{"num_updates": 1, "total_loss": 0.5}, {"num_updates": 0, "total_loss": np.nan}]
    >>> merged_results([{"m": step} for step in steps])
    {'m': {'num_updates': 1, 'total_loss': 0.5}}
    """
    by_module: dict[str, list[Mapping[str, float]]] = {}
    for result in results:
        for module_id, values in result.items():
            by_module.setdefault(module_id, []).append(values)
    return {
        module_id: {name: _merged(name, several) for name in several[0]}
        for module_id, several in by_module.items()
    }


def _merged(name: str, results: Sequence[Mapping[str, float]]) -> float:
    values = [result[name] for result in results]
    if name in COUNTS:
        return sum(values)
    if name.startswith("curr_") or name in LATEST:
        return values[-1]
    if name in EXTREMES:
        return EXTREMES[name](values)
    taken = [result[name] for result in results if result["num_updates"]]
    return float(np.mean(taken or values))
