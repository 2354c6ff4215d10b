"""The one container between acting and learning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest, map_nest

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MAX_SEQ_LEN = 20
"""Steps of a sequence where a module's settings have no `max_seq_len`."""


@dataclass(frozen=True)
class SequenceStarts:
    """Where the sequences of a stateful module begin, and in which state.

    A sequence runs for `max_len` steps, or to the end of its episode or row or to where the next one is
    `anew`, whichever comes first. With a burn-in the next one begins that much before its end, so that every
    step is behind a burn-in once, but for the first few of a sequence that is anew in the middle of an
    episode: where an episode `begins` the state is known, and nothing is burned.
    """

    index: IntArray  # [S, 2] the (t, b) of each first step
    state: Nest  # [S, ...] before it
    begins: BoolArray  # [S] it is the first step of an episode
    anew: BoolArray  # [S] it does not go on with the sequence before it
    max_len: int
    burn_in: int = 0


@dataclass(frozen=True)
class Fragment:
    """T steps of B rows, time-major. A row is one agent in one environment.

    Row `b` has `lengths[b]` real steps, the first ones; what is behind them is padding. Every
    episode end is kept apart with the observation that really followed, so that nothing is rebuilt
    by shifting arrays.
    """

    obs: Nest  # [T + 1, B, ...]; obs[lengths[b], b] is what row b acts on next
    actions: Nest  # [T, B, ...] as drawn, before any clipping for the environment
    action_logp: FloatArray  # [T, B] of the policy that acted
    rewards: FloatArray  # [T, B]
    terminated: BoolArray  # [T, B]
    truncated: BoolArray  # [T, B]
    lengths: IntArray  # [B]
    final_obs: Nest  # [K, ...] what followed the K steps that ended an episode
    final_index: IntArray  # [K, 2] the (t, b) of those steps
    sequences: SequenceStarts | None = None  # of a stateful module
    weights_version: int = 0  # of the policy that acted

    @property
    def mask(self) -> BoolArray:
        """`[T, B]`, True on real steps."""
        return np.arange(len(self.rewards))[:, None] < self.lengths

    @property
    def num_steps(self) -> int:
        """How many real steps there are."""
        return int(self.lengths.sum())

    @property
    def padded(self) -> bool:
        """Whether any row has padding."""
        return self.num_steps < self.rewards.size

    def real(self, column: Nest) -> Nest:
        """Return the real steps of a `[T, B, ...]` column as `[N, ...]`, in order of time, then row.

        Without padding this is a view.
        """
        if not self.padded:
            return map_nest(lambda array: array.reshape(-1, *array.shape[2:]), column)
        mask = self.mask
        return map_nest(lambda array: array[mask], column)


def without_holes(fragment: Fragment, holes: BoolArray) -> Fragment:
    """Close the gaps of rows that were not steps (`holes`, `[T, B]`), so that real steps come first.

    An environment that resets itself in a step of its own leaves such a gap after each episode.
    """
    order = np.argsort(holes, axis=0, kind="stable")  # [T, B] real steps first, in their order
    rows = np.arange(holes.shape[1])
    lengths = len(holes) - holes.sum(axis=0)
    position = np.cumsum(~holes, axis=0) - 1  # of each real step after closing
    close = partial(map_nest, lambda array: array[order, rows])

    def moved(index: IntArray) -> IntArray:
        return np.stack([position[index[:, 0], index[:, 1]], index[:, 1]], axis=1)

    def close_obs(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        closed = np.concatenate([array[:-1][order, rows], array[-1:]])
        closed[lengths, rows] = array[-1]
        return closed

    starts = fragment.sequences
    if starts is not None:
        kept = ~holes[starts.index[:, 0], starts.index[:, 1]]
        starts = replace(
            starts,
            index=moved(starts.index[kept]),
            state=map_nest(lambda array: array[kept], starts.state),
            begins=starts.begins[kept],
            anew=starts.anew[kept],
        )
    return replace(
        fragment,
        obs=map_nest(close_obs, fragment.obs),
        actions=close(fragment.actions),
        action_logp=close(fragment.action_logp),
        rewards=close(fragment.rewards),
        terminated=close(fragment.terminated),
        truncated=close(fragment.truncated),
        lengths=lengths,
        final_index=moved(fragment.final_index),
        sequences=starts,
    )
