"""Whole episodes with the policy as learned, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import EnvError, EnvStream
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.episodes import Episode
from rlmodule_algos.sampling.recurrent_state import CarriedState
from rlmodule_core import RLModule
from rlmodule_core.blas_threads import one_blas_thread
from rlmodule_core.nest import Nest, leaves_with_paths


def evaluate_episodes(
    stream: EnvStream, module: RLModule, bridge: Bridge, *, explore: bool, seed: int | None
) -> list[Episode]:
    """Play one episode in each environment of the stream and return them all.

    One each, because whoever takes the first to finish of many prefers short episodes. Raises
    EnvError if a reward, or an observation that is acted on, is not finite.
    """
    actor = Actor(module, bridge, np.random.default_rng(seed))
    for_env = action_filter(stream.env.single_action_space)
    stream.reset(seed)
    playing = np.ones(stream.num_envs, dtype=bool)
    returns = np.zeros(stream.num_envs)
    lengths = np.zeros(stream.num_envs, dtype=np.int64)
    state = CarriedState(module, stream.num_envs) if actor.is_stateful else None
    with one_blas_thread():
        while playing.any():
            require_finite_rows({"obs": stream.obs}, playing, _environment, int(lengths.max()))
            draw = actor.act(stream.obs, None if state is None else state.now, explore=explore)
            transition = stream.step(for_env(draw.actions))
            if state is not None:
                state.advance(draw.state, transition.begins)
            require_finite_rows({"reward": transition.rewards}, playing, _environment, int(lengths.max()))
            returns[playing] += transition.rewards[playing]
            lengths += playing
            if transition.ended is not None:
                playing &= ~transition.ended
    return [Episode(float(total), int(length)) for total, length in zip(returns, lengths, strict=True)]


def require_finite_rows(
    columns: Nest, rows: npt.NDArray[np.bool_], name_of: Callable[[int], str], step: int
) -> None:
    """Raise EnvError for the first number in these `rows` `[B]` of columns `[B, ...]` that is not finite."""
    for path, leaf in leaves_with_paths(columns):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            bad = ~np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) & rows
            if bad.any():  # else it stands where nobody plays any more
                raise EnvError(
                    f"{name_of(int(bad.argmax()))}: {path} is not finite at step {step} of an episode, in "
                    "evaluation"
                )


def _environment(row: int) -> str:
    return f"environment {row}"
