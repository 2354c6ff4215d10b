"""Numbers that an environment gave must be finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvError
from rlmodule_core.nest import leaves_with_paths


def require_finite(fragment: Fragment, name_of: Callable[[int], str]) -> None:
    """Raise EnvError for the first NaN or infinity, with its column, step and row, which `name_of` names."""
    steps, rows = np.arange(len(fragment.rewards) + 1)[:, None], fragment.lengths
    if not np.isfinite(fragment.rewards).all():
        _refuse(name_of, "reward", ~np.isfinite(fragment.rewards) & fragment.mask)
    for path, leaf in leaves_with_paths({"obs": fragment.obs}):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            _refuse(name_of, path, _not_finite(leaf, axes=2) & (steps <= rows))  # also what is acted on next
    for path, leaf in leaves_with_paths({"final obs": fragment.final_obs}):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            bad = np.zeros_like(fragment.mask)
            bad[tuple(fragment.final_index[_not_finite(leaf, axes=1)].T)] = True
            _refuse(name_of, path, bad)


def _not_finite(leaf: npt.NDArray[Any], *, axes: int) -> npt.NDArray[np.bool_]:
    """Whether any number behind the first `axes` axes is NaN or infinite."""
    bad: npt.NDArray[np.bool_] = ~np.isfinite(leaf).reshape(*leaf.shape[:axes], -1).all(axis=-1)
    return bad


def _refuse(name_of: Callable[[int], str], what: str, bad: npt.NDArray[np.bool_]) -> None:
    if not bad.any():  # only padding held it
        return
    step, row = np.argwhere(bad)[0]
    raise EnvError(
        f"{name_of(int(row))}: {what} is not finite at step {step} of the fragment "
        f"({int(bad.sum())} in all); the fragment was dropped"
    )
