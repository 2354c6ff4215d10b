"""Episodes of several agents, each played by a policy of its own, as data to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from rlmodule_algos.envs import MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.testing.offline import Episode, EpisodeRecorder
from rlmodule_algos.testing.task import BoolArray, TaskPolicy
from rlmodule_core.nest import map_nest

AgentEpisodes: TypeAlias = dict[str, Episode]
"""Agent -> its episode, for those that acted."""


def multi_agent_episodes(
    env: MultiAgentVectorEnv, policies: Mapping[str, TaskPolicy], num_episodes: int, seed: int
) -> list[AgentEpisodes]:
    """Play whole episodes of an environment to which nobody comes back who left.

    A step of an agent's episode is one of its actions, with all that it is paid until its next one. A
    policy sees every row, also those where its agent does not act, whose observations mean nothing.
    """
    rows, agents = env.num_envs, env.possible_agents
    finished: list[list[AgentEpisodes]] = [[] for _ in range(rows)]
    recorders: list[dict[str, EpisodeRecorder]] = [{} for _ in range(rows)]
    step = env.reset(seed=seed)
    while min(map(len, finished)) * rows < num_episodes:
        starts = {agent: np.array([agent not in of_row for of_row in recorders]) for agent in agents}
        actions = {agent: policies[agent](step.obs[agent], starts[agent]) for agent in agents}
        acting = {
            agent: step.has_obs[agent] & ~step.terminated[agent] & ~step.truncated[agent] for agent in agents
        }
        for agent in agents:
            for row in np.flatnonzero(acting[agent]).tolist():
                recorder = recorders[row].setdefault(agent, EpisodeRecorder())
                recorder.act(step.obs[agent], actions[agent], row)
        step = env.step(actions, acting)
        for row, of_row in enumerate(recorders):
            _settle(of_row, step, row)
        for row in np.flatnonzero(step.over).tolist():
            finished[row].append({agent: one.episode() for agent, one in recorders[row].items()})
            recorders[row] = {}
        if step.over.any():
            step = _merged(step, env.reset(rows=step.over), step.over)
    return [finished[index % rows][index // rows] for index in range(num_episodes)]


def _settle(recorders: dict[str, EpisodeRecorder], step: MultiAgentStep, row: int) -> None:
    """Pay those who have acted, and close the episodes of those who leave."""
    for agent, recorder in recorders.items():
        recorder.pay(float(step.rewards[agent][row]))
        terminated, truncated = bool(step.terminated[agent][row]), bool(step.truncated[agent][row])
        if terminated or truncated:
            recorder.end(step.obs[agent], row, terminated=terminated, truncated=truncated)


def _merged(step: MultiAgentStep, begun: MultiAgentStep, over: BoolArray) -> MultiAgentStep:
    """Put the rows that begin anew in the place of those that are over."""

    def choose(old: BoolArray, new: BoolArray) -> BoolArray:
        where: BoolArray = over.reshape(-1, *[1] * (old.ndim - 1))
        chosen: BoolArray = np.where(where, new, old)
        return chosen

    return MultiAgentStep(*map_nest(choose, tuple(step), tuple(begun)))
