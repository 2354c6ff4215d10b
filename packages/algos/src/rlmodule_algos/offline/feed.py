"""Recorded steps, a batch at a time: each is used once an epoch, in an order that is drawn anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import MAX_SEQ_LEN
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.offline.episode import OfflineEpisode
from rlmodule_algos.offline.stacking import cut_into_sequences, stack_steps
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest

IntArray = npt.NDArray[np.int64]


class Shuffled:
    """Counts through `0 .. size - 1` in a drawn order, again and again."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._begin()

    def _begin(self) -> None:
        self._drawn_from = self._rng.bit_generator.state
        self._order = self._rng.permutation(self._size)
        self._next = 0

    @property
    def begins(self) -> bool:
        """Whether the next one taken is the first of an epoch."""
        return self._next == 0

    def take(self, count: int) -> IntArray:
        """Return the next `count`, or what the epoch has left."""
        taken = self._order[self._next : self._next + count]
        self._next += len(taken)
        if self._next == self._size:
            self._begin()
        return taken

    def get_state(self) -> dict[str, Any]:
        """Return the place in the epoch."""
        return {"rng": self._drawn_from, "next": self._next}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the place that `get_state` returned."""
        place = int(state["next"])
        if not 0 <= place < self._size:
            raise ValueError(f"offline data: it has {self._size} entries, but the state is at {place}")
        self._rng.bit_generator.state = state["rng"]
        self._begin()
        self._next = place


class Feed(Protocol):
    """Batches of what a module learns from."""

    def next(self, num_steps: int) -> dict[str, Nest]:
        """Return the next `num_steps` steps, or what the epoch has left; of whole episodes a few more."""

    def first(self, num_steps: int) -> dict[str, Nest]:
        """Return the first `num_steps` steps of the data, always the same."""

    def get_state(self) -> dict[str, Any]: ...  # noqa: D102
    def set_state(self, state: Mapping[str, Any]) -> None: ...  # noqa: D102


class StepFeed:
    """Single steps, of a stateless module: columns `[N, ...]`."""

    def __init__(self, episodes: Sequence[OfflineEpisode], seed: int) -> None:
        columns = stack_steps(episodes)
        self._columns = {name: columns[name] for name in (Columns.OBS, Columns.ACTIONS)}
        self._shuffled = Shuffled(len(columns[Columns.REWARDS]), seed)

    def next(self, num_steps: int) -> dict[str, Nest]:
        """Return the next steps."""
        return self._rows(self._shuffled.take(num_steps))

    def first(self, num_steps: int) -> dict[str, Nest]:
        """Return the first steps."""
        return self._rows(slice(num_steps))

    def _rows(self, rows: IntArray | slice) -> dict[str, Nest]:
        return {name: map_nest(lambda leaf: leaf[rows], column) for name, column in self._columns.items()}

    def get_state(self) -> dict[str, Any]:
        """Return the place in the epoch."""
        return self._shuffled.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the place that `get_state` returned."""
        self._shuffled.set_state(state)


class SequenceFeed:
    """Whole episodes of a stateful module, cut into sequences `[S, L, ...]`.

    Data has no states. They are found by running the module as it is now over each episode, so that every
    sequence begins in the state that acting would have there. With a burn-in sequences overlap, so that
    every step is learned from; an episode's first steps need none, as the state is known.
    """

    def __init__(
        self, episodes: Sequence[OfflineEpisode], module: RLModule, bridge: Bridge, seed: int
    ) -> None:
        settings = {} if module.config is None else module.config.model_config_dict
        columns = stack_steps(episodes)
        self._columns = {name: columns[name] for name in (Columns.OBS, Columns.ACTIONS)}
        self._burn_in = int(settings.get("burn_in", 0))
        max_len = int(settings.get("max_seq_len", MAX_SEQ_LEN))
        self._stride = max_len - self._burn_in
        self._lengths = np.array([episode.num_steps for episode in episodes])  # [E]
        self._cut = cut_into_sequences(self._lengths, max_len, self._burn_in)
        self._first = np.flatnonzero(self._cut.is_start)  # [E] the first sequence of each episode
        self._module, self._bridge = module, bridge
        self._shuffled = Shuffled(len(self._lengths), seed)

    def next(self, num_steps: int) -> dict[str, Nest]:
        """Return the sequences of the next episodes."""
        drawn, steps = [], 0
        while steps < num_steps:
            (episode,) = self._shuffled.take(1)
            drawn.append(episode)
            steps += int(self._lengths[episode])
            if self._shuffled.begins:
                break
        return self._batch(np.array(drawn))

    def first(self, num_steps: int) -> dict[str, Nest]:
        """Return the sequences of the first episodes."""
        enough = int(np.searchsorted(self._lengths.cumsum(), num_steps)) + 1
        return self._batch(np.arange(min(enough, len(self._lengths))))

    def _batch(self, episodes: IntArray) -> dict[str, Nest]:
        counts = self._cut.counts[episodes]
        rows = np.concatenate([self._first[e] + np.arange(self._cut.counts[e]) for e in episodes])
        steps, mask = self._cut.steps[rows], self._cut.mask[rows]
        batch = {name: map_nest(lambda leaf: leaf[steps], column) for name, column in self._columns.items()}
        batch[Columns.STATE_IN] = self._states(batch[Columns.OBS], counts)
        batch[Columns.MASK] = mask
        starts, position = self._cut.is_start[rows][:, None], np.arange(mask.shape[1])
        batch[Columns.LOSS_MASK] = mask & (starts | (position >= self._burn_in))
        if self._burn_in:  # tells the module where it must not burn in, as the state is known
            batch[Columns.IS_FIRST] = starts & (position == 0)
        return batch

    def _states(self, obs: Nest, counts: IntArray) -> Nest:
        """Return the state before each sequence, `[S, ...]`; those of an episode follow one another.

        What leads from one to the next are the steps between their beginnings, all of them real.
        """
        first = np.cumsum(counts) - counts
        states = map_nest(lambda leaf: np.stack([leaf] * int(counts.sum())), self._module.get_initial_state())
        obs = map_nest(lambda leaf: leaf[:, : self._stride], obs)
        for piece in range(int(counts.max()) - 1):
            rows = first[counts > piece + 1] + piece
            batch = {
                name: self._bridge.to_tensors(map_nest(lambda leaf: leaf[rows], column), self._module.device)  # noqa: B023
                for name, column in ((Columns.OBS, obs), (Columns.STATE_IN, states))
            }
            after = self._bridge.call(self._module, "forward_inference", batch)[Columns.STATE_OUT]
            for state, leaf in zip(leaves(states), leaves(self._bridge.to_numpy(after)), strict=True):
                state[rows + 1] = leaf
        return states

    def get_state(self) -> dict[str, Any]:
        """Return the place in the epoch."""
        return self._shuffled.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from the place that `get_state` returned."""
        self._shuffled.set_state(state)


def make_feed(episodes: Sequence[OfflineEpisode], module: RLModule, bridge: Bridge, seed: int) -> Feed:
    """Return sequences for a stateful module, else single steps."""
    if module.is_stateful():
        return SequenceFeed(episodes, module, bridge, seed)
    return StepFeed(episodes, seed)
