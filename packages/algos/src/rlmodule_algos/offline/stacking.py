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
    lengths = np.array([episode.num_steps for episode in episodes])
    pieces = -(-lengths // max_seq_len)
    is_start = np.zeros(pieces.sum(), np.bool_)
    is_start[np.cumsum(pieces) - pieces] = True
    slots = np.arange(pieces.max() * max_seq_len)
    mask = np.concatenate(
        [slots[: count * max_seq_len] < length for count, length in zip(pieces, lengths, strict=True)]
    )

    def placed(steps: Array) -> Array:
        column = np.zeros((len(mask), *steps.shape[1:]), steps.dtype)
        column[mask] = steps
        return column.reshape(-1, max_seq_len, *steps.shape[1:])

    columns = {name: map_nest(placed, column) for name, column in stack_steps(episodes).items()}
    return Sequences(columns, mask.reshape(-1, max_seq_len), is_start)


def _require_episodes(where: str, episodes: Sequence[OfflineEpisode]) -> None:
    if not episodes:
        raise OfflineDataError(where, ["expected at least one episode, got none"])
    require_none(where, unlike(episodes, dtypes=False))


def _acted_on(array: Array) -> Array:
    return array[:-1]


def _joined(*arrays: Array) -> Array:
    joined = np.concatenate(arrays)
    return joined.astype(np.float32) if joined.dtype == np.float64 else joined


def _flags(episode: OfflineEpisode) -> tuple[BoolArray, BoolArray]:
    last = np.arange(episode.num_steps) == episode.num_steps - 1
    return last & episode.terminated, last & episode.truncated
