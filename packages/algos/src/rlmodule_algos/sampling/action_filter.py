"""What an environment gets of the actions that were drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlmodule_core.nest import Nest


def action_filter(space: gym.Space[Any]) -> Callable[[Nest], Nest]:
    """Return what makes drawn actions fit for the environment: Box actions are clipped to the bounds.

    Only the environment's copy is clipped; the fragment keeps what was drawn.
    """
    match space:
        case spaces.Dict():
            filters = {key: action_filter(child) for key, child in space.spaces.items()}
            return lambda actions: {key: fit(actions[key]) for key, fit in filters.items()}
        case spaces.Tuple():
            fits = [action_filter(child) for child in space.spaces]
            return lambda actions: tuple(fit(part) for fit, part in zip(fits, actions, strict=True))
        case spaces.Box() if np.isfinite(space.low).any() or np.isfinite(space.high).any():
            low, high, dtype = space.low, space.high, space.dtype
            return lambda actions: np.clip(actions, low, high).astype(dtype, copy=False)
    return lambda actions: actions
