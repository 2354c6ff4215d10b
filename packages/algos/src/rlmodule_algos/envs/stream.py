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

from rlmodule_algos.envs.errors import EnvError
from rlmodule_algos.envs.failures import env_failed
from rlmodule_core.nest import Nest, leaves, map_nest, unflatten

BoolArray = npt.NDArray[np.bool_]


class Transition(NamedTuple):
    """One step of B environments."""

    rewards: npt.NDArray[Any]  # [B]
    terminated: BoolArray  # [B]
    truncated: BoolArray  # [B]
    ended: BoolArray | None  # [B] terminated or truncated; None where nobody ended
    final_obs: Nest | None  # [K, ...] what really followed the K steps that ended
    resets: BoolArray | None  # [B] rows where this was no step but a reset; None if all were steps
    begins: BoolArray | None  # [B] rows whose next observation is the first of an episode; None: no row's


class EnvStream:
    """Steps a vector environment; `obs` is always what the policy acts on next, `[B, ...]`."""

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self.env = env
        try:
            self._mode = _autoreset_mode(env)
        except EnvError:
            env.close()
            raise
        self._resetting: BoolArray | None = None  # under NEXT_STEP: the rows that reset next
        self._seed: int | None = None  # of the last reset
        self._steps = 0  # begun since
        self.obs: Nest = None

    @property
    def num_envs(self) -> int:
        """The number of environments, B."""
        return self.env.num_envs

    def reset(self, seed: int | None = None) -> None:
        """Start an episode in every environment. Raises EnvError for whatever the environment raised."""
        self._resetting, self._seed, self._steps = None, seed, 0
        try:
            self.obs = _single(self.env.reset(seed=seed)[0])
        except Exception as error:
            raise env_failed(self.env, error, "reset", seed=seed, steps=0) from error

    def step(self, actions: Nest) -> Transition:
        """Step every environment and start anew those whose episode ended.

        Raises EnvError for whatever the environment raised; it must be reset then.
        """
        self._steps += 1
        try:
            return self._step(actions)
        except EnvError:
            raise
        except Exception as error:
            raise env_failed(self.env, error, "step", seed=self._seed, steps=self._steps) from error

    def _step(self, actions: Nest) -> Transition:
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        obs = _single(obs)
        resets, self._resetting = self._resetting, None
        ended = terminated | truncated
        if not ended.any():
            self.obs = obs
            return Transition(rewards, terminated, truncated, None, None, resets, begins=resets)
        if self._mode is AutoresetMode.SAME_STEP:
            final = self._final_obs(infos, ended, like=obs)
        else:
            final = map_nest(lambda array: array[ended], obs)  # indexing copies, as resetting may overwrite
            if self._mode is AutoresetMode.NEXT_STEP:
                self._resetting = ended
            else:
                obs = _single(self.env.reset(options={"reset_mask": ended})[0])
        self.obs = obs
        begins = resets if self._mode is AutoresetMode.NEXT_STEP else ended
        return Transition(rewards, terminated, truncated, ended, final, resets, begins)

    def close(self) -> None:
        """Close the environments."""
        self.env.close()

    def _final_obs(self, infos: dict[str, Any], ended: BoolArray, *, like: Nest) -> Nest:
        """Stack what SAME_STEP leaves in `infos`, one observation a row, as `like` is: `[K, ...]`."""
        if "final_obs" not in infos:
            raise EnvError(
                f"{type(self.env).__name__}: an episode ended, but infos has no 'final_obs', as its "
                f"autoreset mode SAME_STEP demands; it has {sorted(infos)}"
            )
        rows = [leaves(infos["final_obs"][row]) for row in np.flatnonzero(ended)]
        columns = zip(leaves(like), zip(*rows, strict=True), strict=True)
        with np.errstate(over="ignore"):
            return unflatten(like, [np.stack(column).astype(leaf.dtype) for leaf, column in columns])


def _autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    mode = env.metadata.get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise EnvError(
            f"{type(env).__name__}: metadata['autoreset_mode'] is {mode!r}; set it to one of "
            f"{[str(known) for known in AutoresetMode]}, which says how its episodes restart"
        ) from None


def _single(obs: Nest) -> Nest:
    """Give float64 observations as float32, which is what networks compute in.

    What float32 cannot hold becomes infinite, without a word of NumPy's: who reads it says where it stands.
    """
    if not any(leaf.dtype == np.float64 for leaf in leaves(obs)):
        return obs
    with np.errstate(over="ignore"):
        return map_nest(lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, obs)
