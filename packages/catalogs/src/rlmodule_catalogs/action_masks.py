"""Action masks: the entry `action_mask` of a Dict observation says which actions are allowed.

A mask is no observation: it goes to the distribution, and the other entries are what is encoded.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
from gymnasium import spaces

from rlmodule_core.encoder_configs import ACTION_MASK
from rlmodule_core.spaces import leaf_shape


def has_action_mask(observation_space: gym.Space[Any] | None, action_space: gym.Space[Any] | None) -> bool:
    """Say whether observations bring a mask: `[n]` for a Discrete, `[sum of nvec]` for a MultiDiscrete.

    Raises ValueError if the mask is alone, has the wrong size, may hold other numbers than 0 and 1, or the
    actions are of another kind.

    >>> masked = spaces.Dict({"action_mask": spaces.MultiBinary(2), "board": spaces.Box(0, 1, (9,))})
    >>> has_action_mask(masked, spaces.Discrete(2)), has_action_mask(masked["board"], spaces.Discrete(2))
    (True, False)
    """
    if not isinstance(observation_space, spaces.Dict) or ACTION_MASK not in observation_space.spaces:
        return False
    match action_space:
        case spaces.Discrete(n=logits):
            pass
        case spaces.MultiDiscrete(nvec=nvec):
            logits = nvec.sum()
        case _:
            raise ValueError(
                f"observation space.{ACTION_MASK}: masks are for Discrete and MultiDiscrete actions, got "
                f"{action_space}; rename the key if it is no mask"
            )
    mask = observation_space[ACTION_MASK]
    shape = leaf_shape(mask)
    if not shape or math.prod(shape) != logits:
        found = f"{math.prod(shape)} numbers" if shape else "no array of numbers"
        raise ValueError(
            f"observation space.{ACTION_MASK}: {mask} holds {found}, but {action_space} has {logits} logits, "
            "one for each class; make the mask as long, or rename the key if it is no mask"
        )
    if isinstance(mask, spaces.Box) and not (mask.low.min() >= 0 and mask.high.max() <= 1):
        raise ValueError(
            f"observation space.{ACTION_MASK}: {mask} may hold other numbers than 0 and 1; a mask is 1 "
            "where an action is allowed and 0 elsewhere, so bound it, or rename the key if it is no mask"
        )
    if len(observation_space.spaces) == 1:
        raise ValueError(
            f"observation space: {observation_space} holds nothing but the mask; add what the policy "
            "shall see"
        )
    return True


def without_action_mask(observation_space: spaces.Dict) -> spaces.Dict:
    """Return the space without its mask.

    >>> list(without_action_mask(spaces.Dict({"action_mask": spaces.Discrete(2), "a": spaces.Discrete(3)})))
    ['a']
    """
    kept = [(key, space) for key, space in observation_space.spaces.items() if key != ACTION_MASK]
    return spaces.Dict(kept)
