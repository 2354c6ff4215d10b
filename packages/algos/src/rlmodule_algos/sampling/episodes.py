"""Returns and lengths of episodes that may span many fragments."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from rlmodule_algos.batching import Fragment


class Episode(NamedTuple):
    """A finished episode."""

    episode_return: float
    length: int


class EpisodeTracker:
    """Adds up rewards and steps of each row, once a fragment rather than once a step."""

    def __init__(self, num_rows: int, window: int = 100) -> None:
        self._returns = np.zeros(num_rows)  # of the open episode of each row
        self._lengths = np.zeros(num_rows, dtype=np.int64)
        self.recent: deque[Episode] = deque(maxlen=window)
        self.num_episodes = 0
        self.num_steps = 0

    def add(self, fragment: Fragment) -> None:
        """Count a fragment's steps and the episodes that ended in it."""
        rewards = np.where(fragment.mask, fragment.rewards, 0.0).cumsum(axis=0, dtype=np.float64)
        start = np.zeros(len(fragment.lengths), dtype=np.int64)  # of the open episode, in this fragment
        before = np.zeros(len(fragment.lengths))  # rewards of this fragment that came earlier
        for t, row in fragment.final_index[np.argsort(fragment.final_index[:, 0], kind="stable")]:
            episode = Episode(
                float(self._returns[row] + rewards[t, row] - before[row]),
                int(self._lengths[row] + t + 1 - start[row]),
            )
            self.recent.append(episode)
            self.num_episodes += 1
            self._returns[row], self._lengths[row] = 0.0, 0
            start[row], before[row] = t + 1, rewards[t, row]
        if len(rewards):
            self._returns += rewards[-1] - before
        self._lengths += fragment.lengths - start
        self.num_steps += fragment.num_steps

    def drop_open(self) -> None:
        """Forget the open episode of each row; the next step of a row begins another."""
        self._returns[:], self._lengths[:] = 0.0, 0

    def get_state(self) -> dict[str, Any]:
        """Return counters and the window; open episodes are not kept, as their environments are not."""
        return {
            "num_episodes": self.num_episodes,
            "num_steps": self.num_steps,
            "recent": [list(episode) for episode in self.recent],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` returned; every row starts a new episode."""
        self.num_episodes, self.num_steps = state["num_episodes"], state["num_steps"]
        self.recent.clear()
        self.recent.extend(Episode(float(total), int(length)) for total, length in state["recent"])
        self.drop_open()
