"""A policy for each agent, played in environments of many, as episodes to learn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import EnvError, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_algos.offline.recorder import EpisodeRecorder, row_of
from rlmodule_algos.offline.recording import Player, RecordedPolicy, clipped
from rlmodule_core.nest import Nest, leaves, map_nest

BoolArray = npt.NDArray[np.bool_]
Seats = dict[str, "_Seat"]


def record_agent_episodes(
    policies: Mapping[str, RecordedPolicy],
    env: MultiAgentVectorEnv,
    num_episodes: int,
    seed: int = 0,
    *,
    explore: bool = True,
) -> list[dict[str, OfflineEpisode]]:
    """Return whole episodes, each with those agents that acted; the environment stays open.

    A step of an agent is one of its actions, with all that it is paid until its next one. Who leaves
    terminated without a final observation has its last one there again: nothing is learned from it.
    Every environment plays as many episodes as the next, or one fewer.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if unknown := sorted(set(env.possible_agents) - set(policies)):
        raise ValueError(
            f"policies: expected one for each of {sorted(env.possible_agents)}, none for {unknown}"
        )
    rows = env.num_envs
    played: list[list[dict[str, OfflineEpisode]]] = [[] for _ in range(rows)]
    seats = [_seats(policies, explore) for _ in range(rows)]
    step = env.reset(seed=seed)
    while any(len(played[row]) < len(range(row, num_episodes, rows)) for row in range(rows)):
        _see(seats, step)
        step = env.step(*_actions(env, seats, step))
        _settle(seats, step)
        if step.over.any():
            for row in np.flatnonzero(step.over).tolist():
                played[row].append(_episodes(seats[row]))
                seats[row] = _seats(policies, explore)
            step = _merged(step, env.reset(rows=step.over))
    return [played[index % rows][index // rows] for index in range(num_episodes)]


class _Seat:
    """One agent in one environment, during one episode."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.recorder = EpisodeRecorder()
        self.obs: Nest = None  # the last one
        self.action: Nest = None  # done on it, and not yet answered
        self.paid = 0.0


def _seats(policies: Mapping[str, RecordedPolicy], explore: bool) -> Seats:
    return {agent: _Seat(Player(policy, explore)) for agent, policy in policies.items()}


def _present(step: MultiAgentStep, agent: str) -> BoolArray:
    """Which rows give the agent an observation to act on."""
    seen: BoolArray = step.has_obs[agent] & ~step.terminated[agent] & ~step.truncated[agent] & ~step.over
    return seen


def _see(seats: list[Seats], step: MultiAgentStep) -> None:
    """Close the step of everyone who acts again, and begin with those who come."""
    for agent in step.obs:
        for row in np.flatnonzero(_present(step, agent)).tolist():
            seat, obs = seats[row][agent], row_of(step.obs[agent], row)
            if seat.recorder.episodes:
                raise EnvError(f"agent {agent!r} left and came back in one episode, which cannot be recorded")
            if seat.action is None:
                seat.recorder.reset(obs)
            else:
                seat.recorder.step(seat.action, seat.paid, False, False, obs)
            seat.obs, seat.action, seat.paid = map_nest(np.array, obs), None, 0.0


def _actions(
    env: MultiAgentVectorEnv, seats: list[Seats], step: MultiAgentStep
) -> tuple[dict[str, Nest], dict[str, BoolArray]]:
    """Let everyone act who sees something; a row at a time, as states differ."""
    acting = {agent: _present(step, agent) for agent in step.obs}
    actions: dict[str, Nest] = {}
    for agent, rows in acting.items():
        for row in np.flatnonzero(rows).tolist():
            seat = seats[row][agent]
            begins = np.array([seat.recorder.num_steps == 0])
            batch = seat.player.act(map_nest(lambda leaf: leaf[None], seat.obs), begins)
            seat.action = row_of(clipped(batch, env.action_spaces[agent]), 0)
            if agent not in actions:
                actions[agent] = map_nest(
                    lambda leaf: np.zeros((len(seats), *leaf.shape), leaf.dtype), seat.action
                )
            for column, leaf in zip(leaves(actions[agent]), leaves(seat.action), strict=True):
                column[row] = leaf
        if agent not in actions:
            actions[agent] = _nothing(env, agent, len(seats))
    return actions, acting


def _nothing(env: MultiAgentVectorEnv, agent: str, rows: int) -> Nest:
    sample = env.action_spaces[agent].sample()
    return map_nest(lambda leaf: np.zeros((rows, *np.shape(leaf)), np.asarray(leaf).dtype), sample)


def _settle(seats: list[Seats], step: MultiAgentStep) -> None:
    """Pay those who have acted, and end the episodes of those who leave."""
    for agent in step.obs:
        for row, of_row in enumerate(seats):
            seat = of_row[agent]
            if seat.action is None or seat.recorder.episodes:
                continue
            seat.paid += float(step.rewards[agent][row])
            terminated, truncated = bool(step.terminated[agent][row]), bool(step.truncated[agent][row])
            if terminated or truncated:
                final = row_of(step.obs[agent], row) if step.has_obs[agent][row] else seat.obs
                seat.recorder.step(seat.action, seat.paid, terminated, truncated, final)


def _episodes(seats: Seats) -> dict[str, OfflineEpisode]:
    return {agent: seat.recorder.episodes[0] for agent, seat in seats.items() if seat.recorder.episodes}


def _merged(step: MultiAgentStep, begun: MultiAgentStep) -> MultiAgentStep:
    """Put what the rows that were reset see in the place of what was over."""
    over = step.over

    def chosen(new: npt.NDArray[np.generic], old: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.where(over.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    fields = ("obs", "has_obs", "rewards", "terminated", "truncated")
    by_field = {
        field: {
            agent: map_nest(chosen, new, getattr(step, field)[agent])
            for agent, new in getattr(begun, field).items()
        }
        for field in fields
    }
    return MultiAgentStep(**by_field, over=begun.over)
