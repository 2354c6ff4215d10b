"""Episodes of several agents, each played by a policy of its own, as data to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from rlmodule_algos.envs import MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.testing.offline import Episode, EpisodeRecorder
from rlmodule_algos.testing.task import TaskPolicy

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
        shown = env.groups.by_agent(step.obs)
        actions = {agent: policies[agent](shown[agent], starts[agent]) for agent in agents}
        acting = step.has_obs & ~step.terminated & ~step.truncated
        for agent, due in zip(agents, acting, strict=True):
            for row in np.flatnonzero(due).tolist():
                recorder = recorders[row].setdefault(agent, EpisodeRecorder())
                recorder.act(shown[agent], actions[agent], row)
        step = env.step(env.groups.columns(actions), acting)
        for row, of_row in enumerate(recorders):
            _settle(env, of_row, step, row)
        for row in np.flatnonzero(step.over).tolist():
            finished[row].append({agent: one.episode() for agent, one in recorders[row].items()})
            recorders[row] = {}
        if step.over.any():
            step = step.replaced(env.reset(rows=step.over), step.over)
    return [finished[index % rows][index // rows] for index in range(num_episodes)]


def _settle(
    env: MultiAgentVectorEnv, recorders: dict[str, EpisodeRecorder], step: MultiAgentStep, row: int
) -> None:
    """Pay those who have acted, and close the episodes of those who leave."""
    shown = env.groups.by_agent(step.obs)
    for number, agent in enumerate(env.possible_agents):
        if agent in recorders:
            recorder = recorders[agent]
            recorder.pay(float(step.rewards[number, row]))
            terminated, truncated = bool(step.terminated[number, row]), bool(step.truncated[number, row])
            if terminated or truncated:
                recorder.end(shown[agent], row, terminated=terminated, truncated=truncated)
