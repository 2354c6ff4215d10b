"""Episodes to learn from and episodes to validate with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def split_episodes(episodes: Sequence[T], validation_fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Return (training, validation), each in the order given.

    Whole episodes are drawn: neighbouring steps are nearly equal, so a split by step would validate with
    what was learned. Each part has at least one where there are two and the fraction is not 0. An episode
    of many agents (a mapping) is held out only while each of its agents has another to learn from, so the
    second part may be smaller than asked for, or empty.

    >>> split_episodes("abcde", 0.4, seed=0)
    (['a', 'b', 'd'], ['c', 'e'])
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
    wanted = max(round(len(episodes) * validation_fraction), 1) if validation_fraction > 0.0 else 0
    left = Counter(agent for episode in episodes for agent in _agents(episode))  # episodes to learn from
    drawn: set[int] = set()
    for index in np.random.default_rng(seed).permutation(len(episodes)).tolist():
        agents = _agents(episodes[index])
        if len(drawn) < wanted and all(left[agent] > 1 for agent in agents):
            drawn.add(index)
            left.subtract(agents)
    training = [episode for index, episode in enumerate(episodes) if index not in drawn]
    return training, [episode for index, episode in enumerate(episodes) if index in drawn]


def _agents(episode: object) -> tuple[object, ...]:
    """Return who plays in it; None: the one whom all are of."""
    return tuple(episode) if isinstance(episode, Mapping) else (None,)
