"""Episodes of a task, played by a policy, as data to learn from."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from gymnasium.vector import VectorEnv

from rlmodule_algos.envs import EnvStream
from rlmodule_algos.testing.task import TaskPolicy
from rlmodule_core.nest import Nest, map_nest

Episode: TypeAlias = dict[str, Nest]
"""Columns: `obs` `[T+1, ...]`, with the final one; `actions rewards terminated truncated` `[T, ...]`."""


class EpisodeRecorder:
    """One episode of one agent, step by step."""

    def __init__(self) -> None:
        self._obs: list[Nest] = []
        self._actions: list[Nest] = []
        self._rewards: list[float] = []
        self._flags = (False, False)

    def act(self, obs: Nest, actions: Nest, row: int) -> None:
        """Begin a step with what stands in a row of a batch."""
        self._obs.append(_row(obs, row))
        self._actions.append(_row(actions, row))
        self._rewards.append(0.0)

    def pay(self, reward: float) -> None:
        """Add to the reward of the step that was begun last."""
        self._rewards[-1] += reward

    def end(self, final_obs: Nest, row: int, *, terminated: bool, truncated: bool) -> None:
        """Close the episode with the observation that followed the last step."""
        self._obs.append(_row(final_obs, row))
        self._flags = (terminated, truncated)

    def episode(self) -> Episode:
        """Return the columns."""
        last = np.arange(len(self._actions)) == len(self._actions) - 1
        return {
            "obs": map_nest(lambda *steps: np.stack(steps), *self._obs),
            "actions": map_nest(lambda *steps: np.stack(steps), *self._actions),
            "rewards": np.array(self._rewards, np.float32),
            "terminated": last & self._flags[0],
            "truncated": last & self._flags[1],
        }


def episodes(
    task: VectorEnv[Any, Any, Any], policy: TaskPolicy, num_episodes: int, seed: int
) -> list[Episode]:
    """Play whole episodes; every row of the task gives as many as the next, or one fewer.

    To take those that end first would prefer short ones.
    """
    stream = EnvStream(task)
    stream.reset(seed)
    rows = stream.num_envs
    finished: list[list[Episode]] = [[] for _ in range(rows)]
    recorders = [EpisodeRecorder() for _ in range(rows)]
    starts = np.ones(rows, np.bool_)
    while min(map(len, finished)) * rows < num_episodes:
        obs = stream.obs
        actions = policy(obs, starts)
        step = stream.step(actions)
        starts = np.zeros(rows, np.bool_) if step.ended is None else step.ended
        position = iter(range(rows))  # among those that ended
        for row, recorder in enumerate(recorders):
            if step.resets is not None and step.resets[row]:
                continue  # nothing was done: the environment was restarting
            recorder.act(obs, actions, row)
            recorder.pay(float(step.rewards[row]))
            if starts[row]:
                terminated, truncated = bool(step.terminated[row]), bool(step.truncated[row])
                recorder.end(step.final_obs, next(position), terminated=terminated, truncated=truncated)
                finished[row].append(recorder.episode())
                recorders[row] = EpisodeRecorder()
    return [finished[index % rows][index // rows] for index in range(num_episodes)]


def _row(nest: Nest, row: int) -> Nest:
    return map_nest(lambda leaf: np.array(leaf[row]), nest)
