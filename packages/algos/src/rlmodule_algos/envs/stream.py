"""A vector environment as a stream of true transitions, the same for all three autoreset modes.

mode        what `step` returns when an episode ends
NEXT_STEP   the final observation; the next step ignores the action and returns the reset one
SAME_STEP   the reset observation; the final one is in `info["final_obs"]`
DISABLED    the final observation; the caller resets
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from rlmodule_algos.envs.make import EnvError
from rlmodule_core.nest import Nest, map_nest

BoolArray = npt.NDArray[np.bool_]


class Transition(NamedTuple):
    """One step of B environments."""

    rewards: npt.NDArray[Any]  # [B]
    terminated: BoolArray  # [B]
    truncated: BoolArray  # [B]
    ended: BoolArray | None  # [B] terminated or truncated; None where nobody ended
    final_obs: Nest | None  # [K, ...] what really followed the K steps that ended
    resets: BoolArray | None  # [B] rows where this was no step but a reset; None if all were steps


class EnvStream:
    """Steps a vector environment; `obs` is always what the policy acts on next, `[B, ...]`."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self.env = env
        self._mode = _autoreset_mode(env)
        self._resetting: BoolArray | None = None  # under NEXT_STEP: the rows that reset next
        self.obs: Nest = None

    @property
    def num_envs(self) -> int:
        """The number of environments, B."""
        return self.env.num_envs

    def reset(self, seed: int | None = None) -> None:
        """Start an episode in every environment."""
        self.obs = self.env.reset(seed=seed)[0]
        self._resetting = None

    def step(self, actions: npt.NDArray[Any]) -> Transition:
        """Step every environment and start anew those whose episode ended."""
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        resets, self._resetting = self._resetting, None
        ended = terminated | truncated
        if not ended.any():
            self.obs = obs
            return Transition(rewards, terminated, truncated, None, None, resets)
        if self._mode is AutoresetMode.SAME_STEP:
            final = _stack([infos["final_obs"][row] for row in np.flatnonzero(ended)])
        else:
            final = map_nest(lambda array: array[ended], obs)  # indexing copies, as resetting may overwrite
            if self._mode is AutoresetMode.NEXT_STEP:
                self._resetting = ended
            else:
                obs = self.env.reset(options={"reset_mask": ended})[0]
        self.obs = obs
        return Transition(rewards, terminated, truncated, ended, final, resets)

    def close(self) -> None:
        """Close the environments."""
        self.env.close()


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise EnvError(
            f"{type(env).__name__}: metadata['autoreset_mode'] is {mode!r}; set it to one of "
            f"{[str(known) for known in AutoresetMode]}, which says how its episodes restart"
        ) from None


def _stack(samples: list[Nest]) -> Nest:
    return map_nest(lambda *arrays: np.stack(arrays), *samples)
