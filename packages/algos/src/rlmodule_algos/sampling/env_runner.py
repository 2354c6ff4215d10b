"""Steps a vector environment with a module and records fragments.

The loop does per step only what must be done per step: act, step, and write one row of each column
that was allocated for the whole fragment. Log-probs, episode returns and the closing of gaps are
made once a fragment.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvError, EnvStream
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor
from rlmodule_algos.sampling.episodes import EpisodeTracker
from rlmodule_algos.sampling.recorder import Recorder
from rlmodule_algos.sampling.threads import one_blas_thread
from rlmodule_core import RLModule
from rlmodule_core.nest import Nest, leaves_with_paths


class EnvRunner:
    """One vector environment and the module that acts in it."""

    def __init__(self, stream: EnvStream, module: RLModule, bridge: Bridge, *, seed: int | None) -> None:
        self.module = module
        self.episodes = EpisodeTracker(stream.num_envs)
        self.env_seconds = 0.0  # spent inside environments, of all that sampling took
        self._stream = stream
        self._bridge = bridge
        self._rng = np.random.default_rng(seed)
        self._for_env = action_filter(stream.env.single_action_space)
        self._seed = seed
        self._started = False

    @property
    def num_envs(self) -> int:
        """The number of environments, which are stepped side by side."""
        return self._stream.num_envs

    def sample(self, num_steps: int, *, weights_version: int = 0) -> Fragment:
        """Step every environment `num_steps` times; the fragment owns its memory.

        Raises EnvError if an environment failed or returned numbers that are not finite. The fragment
        and the open episodes are dropped then, and the next call starts new ones.
        """
        if num_steps < 1:
            raise ValueError(f"sample: num_steps must be at least 1, got {num_steps}")
        try:
            with one_blas_thread():
                return self._sample(num_steps, weights_version)
        except BaseException:
            self._start_over()
            raise

    def _sample(self, num_steps: int, weights_version: int) -> Fragment:
        stream, for_env, env_seconds = self._stream, self._for_env, 0.0
        if not self._started:
            stream.reset(self._seed)
            self._started = True
        recorder = Recorder(num_steps, stream.num_envs)
        actor = Actor(self.module, self._bridge, self._rng)
        for _ in range(num_steps):
            draw = actor.explore(stream.obs)
            recorder.act(stream.obs, draw)
            begin = perf_counter()
            transition = stream.step(for_env(draw.actions))
            env_seconds += perf_counter() - begin
            recorder.step(transition)
        self.env_seconds += env_seconds
        fragment = recorder.finish(stream.obs, weights_version)
        _require_finite(fragment)
        self.episodes.add(fragment)
        return fragment

    def get_state(self) -> dict[str, Any]:
        """Return the generator's state and the episode counters; open episodes are not kept."""
        return {"rng": self._rng.bit_generator.state, "episodes": self.episodes.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` returned; the environments are reset before the next sample."""
        self._rng.bit_generator.state = state["rng"]
        self.episodes.set_state(state["episodes"])
        self._start_over()

    def _start_over(self) -> None:
        """Reset the environments before the next sample, with a seed that was not used before."""
        self._seed = int(self._rng.integers(2**31))
        self._started = False
        self.episodes.drop_open()

    def close(self) -> None:
        """Close the environments."""
        self._stream.close()


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


def _require_finite(fragment: Fragment) -> None:
    """Raise EnvError for the first NaN or infinity, with its column, step and environment."""
    steps, rows = np.arange(len(fragment.rewards) + 1)[:, None], fragment.lengths
    if not np.isfinite(fragment.rewards).all():
        _refuse("reward", ~np.isfinite(fragment.rewards) & fragment.mask)
    for path, leaf in leaves_with_paths({"obs": fragment.obs}):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            _refuse(path, _not_finite(leaf, axes=2) & (steps <= rows))  # also what is acted on next
    for path, leaf in leaves_with_paths({"final obs": fragment.final_obs}):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            bad = np.zeros_like(fragment.mask)
            bad[tuple(fragment.final_index[_not_finite(leaf, axes=1)].T)] = True
            _refuse(path, bad)


def _not_finite(leaf: npt.NDArray[Any], *, axes: int) -> npt.NDArray[np.bool_]:
    """Whether any number behind the first `axes` axes is NaN or infinite."""
    bad: npt.NDArray[np.bool_] = ~np.isfinite(leaf).reshape(*leaf.shape[:axes], -1).all(axis=-1)
    return bad


def _refuse(what: str, bad: npt.NDArray[np.bool_]) -> None:
    if not bad.any():  # only padding held it
        return
    step, env = np.argwhere(bad)[0]
    raise EnvError(
        f"environment {env}: {what} is not finite at step {step} of the fragment "
        f"({int(bad.sum())} in all); the fragment was dropped"
    )
