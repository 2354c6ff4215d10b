"""Steps a vector environment with a module and records fragments.

The loop does per step only what must be done per step: act, step, and write one row of each column
that was allocated for the whole fragment. Log-probs, episode returns and the closing of gaps are
made once a fragment.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import EnvStream
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.episodes import EpisodeTracker
from rlmodule_algos.sampling.finite import require_finite
from rlmodule_algos.sampling.recorder import Recorder
from rlmodule_algos.sampling.recurrent_state import CarriedState, SequenceMarks
from rlmodule_core import DEFAULT_MODULE_ID, RLModule
from rlmodule_core.blas_threads import one_blas_thread


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
        self._state: CarriedState | None = None  # of a stateful module, before its next step

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
        actor = Actor(self.module, self._bridge, self._rng)
        if not self._started:
            stream.reset(self._seed)
            self._state = CarriedState(self.module, stream.num_envs) if actor.is_stateful else None
            self._started = True
        state = self._state
        marks = None if state is None else SequenceMarks(self.module, stream.num_envs)
        recorder = Recorder(num_steps, stream.num_envs, marks)
        for _ in range(num_steps):
            draw = actor.act(stream.obs, None if state is None else state.now, explore=True)
            recorder.act(stream.obs, draw, state)
            begin = perf_counter()
            transition = stream.step(for_env(draw.actions))
            env_seconds += perf_counter() - begin
            recorder.step(transition)
            if state is not None:
                state.advance(draw.state, transition.begins)
        self.env_seconds += env_seconds
        fragment = recorder.finish(stream.obs, weights_version)
        require_finite(fragment, stream.env.single_action_space, lambda row: f"environment {row}")
        self.episodes.add(fragment)
        return fragment

    def collect(self, num_steps: int, *, weights_version: int = 0) -> dict[str, Fragment]:
        """Return what `sample` does, under the id of the module; nothing if all that happened were resets."""
        fragment = self.sample(num_steps, weights_version=weights_version)
        return {DEFAULT_MODULE_ID: fragment} if fragment.num_steps else {}

    def forget(self, module_id: str) -> None:
        """Nothing: the one module of a single agent cannot be removed."""

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
