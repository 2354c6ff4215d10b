"""What `train()` and `evaluate()` return: nested dicts whose keys never change within a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from rlmodule_algos.sampling import Episode, EpisodeTracker

Result: TypeAlias = dict[str, Any]


def training_result(
    *,
    iteration: int,
    seconds_total: float,
    episodes: EpisodeTracker,
    before: tuple[int, int],  # steps and episodes before the iteration
    learners: Mapping[str, Mapping[str, float]],
    timers: Mapping[str, float],
) -> Result:
    """Return the result of one iteration. Episode statistics are over the last 100 episodes."""
    return {
        "training_iteration": iteration,
        "time_total_s": seconds_total,
        "env_runners": {
            **_statistics(list(episodes.recent)),
            "num_episodes": episodes.num_episodes - before[1],
            "num_episodes_lifetime": episodes.num_episodes,
            "num_env_steps_sampled": episodes.num_steps - before[0],
            "num_env_steps_sampled_lifetime": episodes.num_steps,
        },
        "learners": {key: dict(values) for key, values in learners.items()},
        "timers": dict(timers),
    }


def evaluation_result(episodes: Sequence[Episode]) -> Result:
    """Return the statistics of all episodes played."""
    return {
        **_statistics(episodes),
        "num_episodes": len(episodes),
        "episode_returns": [episode.episode_return for episode in episodes],
    }


def _statistics(episodes: Sequence[Episode]) -> dict[str, float]:
    nan = float("nan")
    if not episodes:
        return {
            "episode_return_mean": nan,
            "episode_return_min": nan,
            "episode_return_max": nan,
            "episode_len_mean": nan,
        }
    returns = [episode.episode_return for episode in episodes]
    return {
        "episode_return_mean": float(np.mean(returns)),
        "episode_return_min": min(returns),
        "episode_return_max": max(returns),
        "episode_len_mean": float(np.mean([episode.length for episode in episodes])),
    }
