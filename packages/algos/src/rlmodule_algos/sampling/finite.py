"""What an environment gave must be something to learn from: finite numbers, and an action to choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvError
from rlmodule_algos.sampling.choices import without_choice
from rlmodule_core.encoder_configs import ACTION_MASK
from rlmodule_core.nest import leaves_with_paths, map_nest

NOT_FINITE = "is not finite"
WHY = ": a NaN, an infinity, or beyond what float32 holds (3.4e38)"


def require_finite(fragment: Fragment, action_space: gym.Space[Any], name_of: Callable[[int], str]) -> None:
    """Raise EnvError for the first NaN or infinity, with its column, step and row, which `name_of` names.

    The same for the first mask in `obs["action_mask"]` that forbids every action, or all values of a
    component of it, where one was taken.
    """
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
    allowed = fragment.obs.get(ACTION_MASK) if isinstance(fragment.obs, Mapping) else None
    if allowed is not None:
        acted_on = map_nest(lambda leaf: leaf[:-1], allowed)
        none, choices = without_choice(acted_on, action_space)
        none = none & fragment.mask[..., None]
        if none.any():
            choice = np.argwhere(none)[0, -1]
            problem = f"forbids every {choices[choice]}"
            _refuse(name_of, f"obs.{ACTION_MASK}", none[..., choice], problem, why="")


def _not_finite(leaf: npt.NDArray[Any], *, axes: int) -> npt.NDArray[np.bool_]:
    """Whether any number behind the first `axes` axes is NaN or infinite."""
    bad: npt.NDArray[np.bool_] = ~np.isfinite(leaf).reshape(*leaf.shape[:axes], -1).all(axis=-1)
    return bad


def _refuse(
    name_of: Callable[[int], str],
    what: str,
    bad: npt.NDArray[np.bool_],
    problem: str = NOT_FINITE,
    why: str = WHY,
) -> None:
    if not bad.any():  # only padding held it
        return
    step, row = np.argwhere(bad)[0]
    raise EnvError(
        f"{name_of(int(row))}: {what} {problem} at step {step} of the fragment "
        f"({int(bad.sum())} in all){why}; the fragment was dropped"
    )
