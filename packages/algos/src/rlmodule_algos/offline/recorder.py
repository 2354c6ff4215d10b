"""Episodes, recorded a step at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_core.nest import Nest, map_nest


class EpisodeRecorder:
    """Records one agent's episodes from a loop of yours; `episodes` are those that ended.

    >>> recorder = EpisodeRecorder()
    >>> recorder.reset(obs=np.float32(0.5))
    >>> recorder.step(action=1, reward=2.0, terminated=True, truncated=False, obs=np.float32(0.7))
    >>> recorder.episodes[0].obs.tolist(), recorder.episodes[0].actions.tolist()
    ([0.5, 0.699999988079071], [1])
    """

    def __init__(self) -> None:
        self.episodes: list[OfflineEpisode] = []
        self._obs: list[Nest] = []
        self._actions: list[Nest] = []
        self._rewards: list[float] = []

    def reset(self, obs: Nest) -> None:
        """Begin an episode with its first observation; one that has not ended is dropped."""
        self._obs, self._actions, self._rewards = [_copied(obs)], [], []

    def step(self, action: Nest, reward: float, terminated: bool, truncated: bool, obs: Nest) -> None:
        """Record an action and what came of it; `obs` is what followed, the final one too."""
        if not self._obs:
            raise ValueError("EpisodeRecorder: step before reset; reset(obs) begins each episode")
        self._obs.append(_copied(obs))
        self._actions.append(_copied(action))
        self._rewards.append(float(reward))
        if terminated or truncated:
            self.cut(terminated=bool(terminated), truncated=bool(truncated))

    @property
    def num_steps(self) -> int:
        """The steps of the episode that has not ended."""
        return len(self._actions)

    def cut(self, *, terminated: bool = False, truncated: bool = True) -> None:
        """End the episode here, as it is."""
        episode = OfflineEpisode(
            obs=map_nest(lambda *steps: np.stack(steps), *self._obs),
            actions=map_nest(lambda *steps: np.stack(steps), *self._actions),
            rewards=np.array(self._rewards, np.float64),
            terminated=terminated,
            truncated=truncated,
        )
        self._obs, self._actions, self._rewards = [], [], []
        self.episodes.append(episode)


def _copied(nest: Nest) -> Nest:
    """Environments may overwrite what they gave."""
    return map_nest(lambda leaf: np.array(leaf), nest)


def row_of(nest: Nest, row: int) -> Any:
    """Return one row of arrays `[B, ...]`."""
    return map_nest(lambda leaf: leaf[row], nest)
