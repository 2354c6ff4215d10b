"""A fragment of a stateful module, cut into sequences: `[T, B, ...]` -> `[S, L, ...]`.

A sequence never holds more than one episode. It is padded on the right with copies of its first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching.fragment import BoolArray, Fragment, IntArray
from rlmodule_core.nest import Nest, map_nest


@dataclass(frozen=True)
class SequenceIndex:
    """Where each step of S sequences of at most L steps stands in its fragment."""

    time: IntArray  # [S, L]; padding points at the first step
    row: IntArray  # [S, 1]
    lengths: IntArray  # [S], at least 1
    learned: BoolArray  # [S, L] real steps behind the burn-in, each step of the fragment at most once
    begins: BoolArray | None  # [S, L] the first step of an episode; None: no burn-in, so nobody asks
    final: IntArray  # [S] the place in `final_obs` of what followed the last step; -1: the episode goes on

    @property
    def mask(self) -> BoolArray:
        """`[S, L]`, True on real steps."""
        return np.arange(self.time.shape[1]) < self.lengths[:, None]

    def gather(self, column: Nest) -> Nest:
        """Return the steps of a `[T, B, ...]` column as `[S, L, ...]`."""
        return map_nest(lambda array: array[self.time, self.row], column)

    def scatter(self, column: Nest, shape: tuple[int, int]) -> Nest:
        """Write `[S, L, ...]` to where the steps came from, `[T, B, ...]`; `shape` is (T, B), the rest is 0.

        Of a step that two sequences hold, the value behind the burn-in counts.
        """

        def written(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
            out = np.zeros((*shape, *array.shape[2:]), array.dtype)
            for steps in (self.mask, self.learned):
                sequence, position = np.nonzero(steps)
                out[self.time[sequence, position], self.row[sequence, 0]] = array[sequence, position]
            return out

        return map_nest(written, column)


def sequence_index(fragment: Fragment) -> SequenceIndex:
    """Cut a fragment into sequences. Raises ValueError if its module was not stateful.

    All have the same L, `max_len`, so that a compiled graph sees one shape.
    """
    starts = fragment.sequences
    if starts is None:
        raise ValueError("sequence_index: the fragment has no sequences, as its module was stateless")
    first, row = starts.index.T
    end, final = _episode_ends(fragment, starts.index[starts.anew & (first > 0)])
    stop = np.minimum(first + starts.max_len, np.minimum(end[first, row] + 1, fragment.lengths[row]))
    lengths = stop - first
    position = np.arange(starts.max_len)
    real = position < lengths[:, None]
    learned = real & (starts.begins[:, None] | (position >= starts.burn_in))
    last = stop - 1
    return SequenceIndex(
        time=np.where(real, first[:, None] + position, first[:, None]),
        row=row[:, None],
        lengths=lengths,
        learned=learned,
        begins=starts.begins[:, None] & (position == 0) if starts.burn_in else None,
        final=np.where(end[first, row] == last, final[last, row], -1),
    )


def _episode_ends(fragment: Fragment, anew: IntArray) -> tuple[IntArray, IntArray]:
    """Return, `[T, B]` each, when a step's episode ends (T: not in here), and where its final obs is.

    Where a sequence is anew in the middle of an episode, that ends too, without a final observation.
    """
    steps, rows = fragment.rewards.shape
    end = np.full((steps + 1, rows), steps)
    final = np.full((steps, rows), -1)
    time, row = fragment.final_index.T
    end[time, row] = time
    end[anew[:, 0] - 1, anew[:, 1]] = anew[:, 0] - 1
    final[time, row] = np.arange(len(time))
    for t in range(steps - 1, -1, -1):
        end[t] = np.minimum(end[t], end[t + 1])
    return end[:-1], final
