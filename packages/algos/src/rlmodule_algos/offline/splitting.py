"""Episodes to learn from and episodes to validate with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def split_episodes(episodes: Sequence[T], validation_fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Return (training, validation), each in the order given.

    Whole episodes are drawn: neighbouring steps are nearly equal, so a split by step would validate with
    what was learned. Each part has at least one where there are two and the fraction is not 0.

    >>> split_episodes("abcde", 0.4, seed=0)
    (['a', 'b', 'd'], ['c', 'e'])
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise ValueError(f"validation_fraction must be in [0, 1), got {validation_fraction}")
    count = round(len(episodes) * validation_fraction)
    if validation_fraction > 0.0:
        count = max(min(count, len(episodes) - 1), min(1, len(episodes) - 1), 0)
    drawn = set(np.random.default_rng(seed).permutation(len(episodes))[:count].tolist())
    training = [episode for index, episode in enumerate(episodes) if index not in drawn]
    return training, [episode for index, episode in enumerate(episodes) if index in drawn]
