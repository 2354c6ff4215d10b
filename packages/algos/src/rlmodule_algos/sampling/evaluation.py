"""Whole episodes with the policy as learned, in environments of their own."""

from __future__ import annotations

import numpy as np

from rlmodule_algos.envs import EnvError, EnvStream
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.episodes import Episode
from rlmodule_algos.sampling.recurrent_state import CarriedState
from rlmodule_core import RLModule
from rlmodule_core.blas_threads import one_blas_thread


def evaluate_episodes(
    stream: EnvStream, module: RLModule, bridge: Bridge, *, explore: bool, seed: int | None
) -> list[Episode]:
    """Play one episode in each environment of the stream and return them all.

    One each, because whoever takes the first to finish of many prefers short episodes. Raises
    EnvError if a return is not finite.
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
            draw = actor.act(stream.obs, None if state is None else state.now, explore=explore)
            transition = stream.step(for_env(draw.actions))
            if state is not None:
                state.advance(draw.state, transition.begins)
            returns[playing] += transition.rewards[playing]
            lengths += playing
            if transition.ended is not None:
                playing &= ~transition.ended
    if not np.isfinite(returns).all():
        env = np.flatnonzero(~np.isfinite(returns))[0]
        raise EnvError(f"environment {env}: its return is not finite, {returns[env]}, in evaluation")
    return [Episode(float(total), int(length)) for total, length in zip(returns, lengths, strict=True)]
