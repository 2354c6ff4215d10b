"""What `train()` and `evaluate()` return: nested dicts whose keys never change within a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from rlmodule_algos.sampling import Episode, Episodes

Result: TypeAlias = dict[str, Any]


class Counts(NamedTuple):
    """What was sampled so far."""

    steps: int
    episodes: int
    agent_steps: dict[str, int]

    @classmethod
    def of(cls, episodes: Episodes) -> Counts:
        """Return the counts as they are now."""
        return cls(episodes.num_steps, episodes.num_episodes, dict(episodes.num_agent_steps))


def training_result(
    *,
    iteration: int,
    seconds_total: float,
    episodes: Episodes,
    before: Counts,
    learners: Mapping[str, Mapping[str, float]],
    timers: Mapping[str, float],
) -> Result:
    """Return the result of one iteration. Episode statistics are over the last 100 episodes."""
    now = Counts.of(episodes)
    return {
        "training_iteration": iteration,
        "time_total_s": seconds_total,
        "env_runners": {
            **_statistics(list(episodes.recent)),
            "module_episode_return_mean": _means(episodes.module_returns),
            "num_episodes": now.episodes - before.episodes,
            "num_episodes_lifetime": now.episodes,
            "num_env_steps_sampled": now.steps - before.steps,
            "num_env_steps_sampled_lifetime": now.steps,
            "num_agent_steps_sampled": {
                key: count - before.agent_steps.get(key, 0) for key, count in now.agent_steps.items()
            },
            "num_agent_steps_sampled_lifetime": now.agent_steps,
        },
        "learners": {key: dict(values) for key, values in learners.items()},
        "timers": dict(timers),
    }


def evaluation_result(episodes: Sequence[Episode], module_returns: Mapping[str, Sequence[float]]) -> Result:
    """Return the statistics of all episodes played."""
    return {
        **_statistics(episodes),
        "module_episode_return_mean": _means(module_returns),
        "num_episodes": len(episodes),
        "episode_returns": [episode.episode_return for episode in episodes],
    }


def _means(returns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {key: float(np.mean(values)) for key, values in returns.items() if len(values)}


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
