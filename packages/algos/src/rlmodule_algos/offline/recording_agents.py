"""A policy for each agent, played in environments of many, as episodes to learn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import Columns, EnvError, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_algos.offline.recorder import EpisodeRecorder, row_of
from rlmodule_algos.offline.recording import (
    Player,
    RecordedPolicy,
    clipped,
    require_counts,
    require_policy,
)
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
    require_counts(num_episodes=num_episodes)
    if unknown := sorted(set(env.possible_agents) - set(policies)):
        raise ValueError(
            f"policies: expected one for each of {sorted(env.possible_agents)}, none for {unknown}"
        )
    for agent, policy in policies.items():
        require_policy(f"policies[{agent!r}]", policy)
    rows = env.num_envs
    played: list[list[dict[str, OfflineEpisode]]] = [[] for _ in range(rows)]
    seats = [_seats(policies, explore) for _ in range(rows)]
    step = env.reset(seed=seed)
    while any(len(played[row]) < len(range(row, num_episodes, rows)) for row in range(rows)):
        acting = step.has_obs & ~step.terminated & ~step.truncated & ~step.over
        _see(env, seats, step, acting)
        step = env.step(_actions(env, seats, acting), acting)
        _settle(env, seats, step)
        if step.over.any():
            for row in np.flatnonzero(step.over).tolist():
                played[row].append(_episodes(seats[row]))
                seats[row] = _seats(policies, explore)
            step = step.replaced(env.reset(rows=step.over), step.over)
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


def _see(env: MultiAgentVectorEnv, seats: list[Seats], step: MultiAgentStep, acting: BoolArray) -> None:
    """Close the step of everyone who acts again, and begin with those who come."""
    shown = env.groups.by_agent(step.obs)
    for agent, rows in zip(env.possible_agents, acting, strict=True):
        for row in np.flatnonzero(rows).tolist():
            seat, obs = seats[row][agent], row_of(shown[agent], row)
            if seat.recorder.episodes:
                raise EnvError(f"agent {agent!r} left and came back in one episode, which cannot be recorded")
            if seat.action is None:
                seat.recorder.reset(obs)
            else:
                seat.recorder.step(seat.action, seat.paid, False, False, obs)
            seat.obs, seat.action, seat.paid = map_nest(np.array, obs), None, 0.0


def _actions(env: MultiAgentVectorEnv, seats: list[Seats], acting: BoolArray) -> Columns:
    """Let everyone act who sees something; a row at a time, as states differ."""
    columns: Columns = [None] * len(env.groups.members)
    pairs = np.flatnonzero(acting)
    for group, members in env.groups.split(pairs):
        for pair, place in zip(members.tolist(), env.groups.places(members).tolist(), strict=True):
            number, row = divmod(pair, env.num_envs)
            agent = env.possible_agents[number]
            seat = seats[row][agent]
            begins = np.array([seat.recorder.num_steps == 0])
            batch = seat.player.act(map_nest(lambda leaf: leaf[None], seat.obs), begins)
            seat.action = row_of(clipped(batch, env.action_spaces[agent]), 0)
            if columns[group] is None:
                size = len(env.groups.members[group]) * env.num_envs
                columns[group] = map_nest(
                    lambda leaf: np.zeros((size, *leaf.shape), leaf.dtype),  # noqa: B023  # used at once
                    seat.action,
                )
            for column, leaf in zip(leaves(columns[group]), leaves(seat.action), strict=True):
                column[place] = leaf
    return columns


def _settle(env: MultiAgentVectorEnv, seats: list[Seats], step: MultiAgentStep) -> None:
    """Pay those who have acted, and end the episodes of those who leave."""
    shown = env.groups.by_agent(step.obs)
    for number, agent in enumerate(env.possible_agents):
        for row, of_row in enumerate(seats):
            seat = of_row[agent]
            if seat.action is None or seat.recorder.episodes:
                continue
            seat.paid += float(step.rewards[number, row])
            terminated, truncated = bool(step.terminated[number, row]), bool(step.truncated[number, row])
            if terminated or truncated:
                final = row_of(shown[agent], row) if step.has_obs[number, row] else seat.obs
                seat.recorder.step(seat.action, seat.paid, terminated, truncated, final)


def _episodes(seats: Seats) -> dict[str, OfflineEpisode]:
    return {agent: seat.recorder.episodes[0] for agent, seat in seats.items() if seat.recorder.episodes}
