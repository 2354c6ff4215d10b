"""A policy, played in environments, as episodes to learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_algos.envs import EnvSource, EnvStream, make_vector_env
from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_algos.offline.recorder import EpisodeRecorder, row_of
from rlmodule_core.nest import Nest, leaves, map_nest

BoolArray = npt.NDArray[np.bool_]


class ActingPolicy(Protocol):
    """What `Algorithm.get_policy()` returns, or whatever else has its `compute_actions`."""

    def compute_actions(
        self, obs_batch: Nest, state_batches: Nest = None, explore: bool = True
    ) -> tuple[Nest, Nest, Any]:
        """Return (actions `[B, ...]`, states after them, anything)."""


RecordedPolicy: TypeAlias = Callable[[Nest], Nest] | ActingPolicy
"""A function of observations `[B, ...]` that gives actions `[B, ...]`, or what has `compute_actions`."""


def record_episodes(
    policy: RecordedPolicy,
    env: EnvSource,
    num_episodes: int,
    seed: int = 0,
    *,
    env_config: Mapping[str, Any] | None = None,
    num_envs: int = 1,
    explore: bool = True,
) -> list[OfflineEpisode]:
    """Return whole episodes; with several environments each plays as many as the next, or one fewer.

    (To take those that end first would prefer short ones.) Box actions are clipped to their bounds, for the
    environment and in the record. `explore` and states are for policies with `compute_actions`.
    """
    require_counts(num_episodes=num_episodes, num_envs=num_envs)
    require_policy("policy", policy)
    stream = EnvStream(make_vector_env(env, dict(env_config or {}), min(num_envs, num_episodes)))
    try:
        return _play(Player(policy, explore), stream, num_episodes, seed)
    finally:
        stream.close()


def require_counts(**counts: int) -> None:
    """Raise ValueError for a number of things that is no integer of 1 or more."""
    for name, count in counts.items():
        if not isinstance(count, (int, np.integer)) or isinstance(count, bool):
            raise ValueError(f"{name} must be an integer, got {count!r}")
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def require_policy(name: str, policy: object) -> None:
    """Raise ValueError for what cannot act."""
    if not (hasattr(policy, "compute_actions") or callable(policy)):
        hint = "; pass its get_policy()" if hasattr(policy, "get_policy") else ""
        raise ValueError(
            f"{name}: expected a function of observations, or what has compute_actions as a Policy, got "
            f"{type(policy).__name__}{hint}"
        )


def _play(player: Player, stream: EnvStream, num_episodes: int, seed: int) -> list[OfflineEpisode]:
    rows = stream.num_envs
    wanted = [len(range(row, num_episodes, rows)) for row in range(rows)]
    recorders = [EpisodeRecorder() for _ in range(rows)]
    space = stream.env.single_action_space
    stream.reset(seed)
    obs, begins = stream.obs, np.ones(rows, np.bool_)
    while any(len(known.episodes) < count for known, count in zip(recorders, wanted, strict=True)):
        for row in np.flatnonzero(begins).tolist():
            recorders[row].reset(row_of(obs, row))
        actions = clipped(player.act(obs, begins), space)
        step = stream.step(actions)
        finals = iter(range(rows))
        for row, recorder in enumerate(recorders):
            if step.resets is not None and step.resets[row]:
                continue  # nothing was done: the environment was restarting
            ended = step.ended is not None and bool(step.ended[row])
            recorder.step(
                row_of(actions, row),
                float(step.rewards[row]),
                bool(step.terminated[row]),
                bool(step.truncated[row]),
                row_of(step.final_obs, next(finals)) if ended else row_of(stream.obs, row),
            )
        obs = stream.obs
        begins = np.zeros(rows, np.bool_) if step.begins is None else step.begins
    return [recorders[index % rows].episodes[index // rows] for index in range(num_episodes)]


class Player:
    """Calls a policy, and carries its state from step to step."""

    def __init__(self, policy: RecordedPolicy, explore: bool) -> None:
        self._policy = policy
        self._explore = explore
        self._state: Nest = {}

    def act(self, obs: Nest, begins: BoolArray) -> Nest:
        """Return actions `[B, ...]`; rows that `begins` an episode do so without a state."""
        if not hasattr(self._policy, "compute_actions"):
            return map_nest(np.asarray, self._policy(obs))
        stateless = not leaves(self._state)
        if stateless or begins.all():
            actions, self._state = self._compute(obs, None)
            return actions
        actions, state = self._compute(obs, self._state)
        if begins.any():  # their initial state is the policy's to know: it acts on it where it is given none
            fresh_actions, fresh_state = self._compute(obs, None)
            actions = map_nest(lambda new, old: _chosen(begins, new, old), fresh_actions, actions)
            state = map_nest(lambda new, old: _chosen(begins, new, old), fresh_state, state)
        self._state = state
        return actions

    def _compute(self, obs: Nest, state: Nest) -> tuple[Nest, Nest]:
        policy: Any = self._policy
        actions, after, _extra = policy.compute_actions(obs, state, explore=self._explore)
        return map_nest(np.asarray, actions), {} if after is None else after


def _chosen(rows: BoolArray, new: Any, old: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.where(rows.reshape(-1, *[1] * (np.ndim(new) - 1)), new, old)
    return array


def clipped(actions: Nest, space: gym.Space[Any]) -> Nest:
    """Return the actions, those of Boxes within their bounds and of their dtype."""
    match space:
        case spaces.Dict():
            return {key: clipped(actions[key], child) for key, child in space.spaces.items()}
        case spaces.Tuple():
            return tuple(clipped(part, child) for part, child in zip(actions, space.spaces, strict=True))
        case spaces.Box():
            return np.clip(actions, space.low, space.high).astype(space.dtype, copy=False)
    return actions
