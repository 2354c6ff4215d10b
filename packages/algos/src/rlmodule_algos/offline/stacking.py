"""Episodes -> the columns that a learner takes, steps or sequences. float64 becomes float32, as in acting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_algos.offline.episode import OfflineEpisode, unlike
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, map_nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


class Sequences(NamedTuple):
    """S pieces of episodes, of L steps at most; behind the real steps are zeros."""

    columns: dict[str, Nest]  # [S, L, ...]
    mask: BoolArray  # [S, L] True on real steps
    is_start: BoolArray  # [S] True for the first of each episode


def stack_steps(episodes: Sequence[OfflineEpisode]) -> dict[str, Nest]:
    """Return all real steps as `[N, ...]`, in order; the observation is the one that was acted on.

    Final observations are left out: nothing was done there.
    """
    _require_episodes("stack_steps", episodes)
    flags = [_flags(episode) for episode in episodes]
    return {
        Columns.OBS: map_nest(_joined, *(map_nest(_acted_on, episode.obs) for episode in episodes)),
        Columns.ACTIONS: map_nest(_joined, *(episode.actions for episode in episodes)),
        Columns.REWARDS: np.concatenate([episode.rewards for episode in episodes]),
        Columns.TERMINATED: np.concatenate([terminated for terminated, _truncated in flags]),
        Columns.TRUNCATED: np.concatenate([truncated for _terminated, truncated in flags]),
    }


def stack_sequences(episodes: Sequence[OfflineEpisode], max_seq_len: int) -> Sequences:
    """Cut each episode every `max_seq_len` steps, from its start; no sequence holds steps of two.

    Data has no recurrent states, and only where `is_start` is True is the state known: the initial one.
    The sequences of an episode follow one another, so the state before any other is found by running
    the module over those before it. Whoever shuffles sequences must keep each episode's order.
    """
    _require_episodes("stack_sequences", episodes)
    if max_seq_len < 1:
        raise ValueError(f"max_seq_len must be at least 1, got {max_seq_len}")
    cut = cut_into_sequences(np.array([episode.num_steps for episode in episodes]), max_seq_len)

    def placed(steps: Array) -> Array:
        column = steps[cut.steps]
        column[~cut.mask] = 0
        return column

    columns = {name: map_nest(placed, column) for name, column in stack_steps(episodes).items()}
    return Sequences(columns, cut.mask, cut.is_start)


class Cut(NamedTuple):
    """Where the steps of S sequences, of L steps at most, stand among all steps of all episodes."""

    steps: IntArray  # [S, L]; behind the real steps: that of the first
    mask: BoolArray  # [S, L] True on real steps
    is_start: BoolArray  # [S] True for the first of each episode
    counts: IntArray  # [E] sequences of each episode, which follow one another


def cut_into_sequences(lengths: IntArray, max_seq_len: int, burn_in: int = 0) -> Cut:
    """Cut episodes of these `lengths`, `[E]`, each from its start.

    Every sequence but an episode's first begins `burn_in` steps before the one before it ends, so that each
    step is behind a burn-in, or in a first sequence, exactly once.

    >>> cut_into_sequences(np.array([5, 2]), max_seq_len=3, burn_in=1).steps.tolist()
    [[0, 1, 2], [2, 3, 4], [5, 6, 5]]
    """
    stride = max_seq_len - burn_in
    counts = 1 + np.maximum(-(-(lengths - max_seq_len) // stride), 0)
    episode = np.repeat(np.arange(len(lengths)), counts)  # [S]
    number = np.arange(len(episode)) - (np.cumsum(counts) - counts)[episode]  # [S] within its episode
    begin, position = number * stride, np.arange(max_seq_len)
    mask = begin[:, None] + position < lengths[episode][:, None]
    first = ((np.cumsum(lengths) - lengths)[episode] + begin)[:, None]
    return Cut(np.where(mask, first + position, first), mask, number == 0, counts)


def _require_episodes(where: str, episodes: Sequence[OfflineEpisode]) -> None:
    if not episodes:
        raise OfflineDataError(where, ["expected at least one episode, got none"])
    require_none(where, unlike(episodes, dtypes=False))


def _acted_on(array: Array) -> Array:
    return array[:-1]


def _joined(*arrays: Array) -> Array:
    joined = np.concatenate(arrays)
    if joined.dtype != np.float64:
        return joined
    with np.errstate(over="ignore"):  # the learner names what float32 cannot hold
        return joined.astype(np.float32)


def _flags(episode: OfflineEpisode) -> tuple[BoolArray, BoolArray]:
    last = np.arange(episode.num_steps) == episode.num_steps - 1
    return last & episode.terminated, last & episode.truncated
