"""The last few batches, each of which may be learned from several times.

Source: Luo et al. 2020, "IMPACT", https://arxiv.org/abs/1912.00167, section 3.2: N batches, each used
at most K times, the oldest replaced by what comes new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlmodule_algos.batching import Fragment


@dataclass
class SampledBatch:
    """What was sampled together."""

    fragments: Mapping[str, Sequence[Fragment]]  # by module id
    num_env_steps: int
    uses: int = 0  # how often it was given out
    trained: bool = False  # whether a step was taken on it


class CircularBuffer:
    """Holds at most `num_batches`, and gives out each at most `num_uses` times.

    What was used least comes first, of those the oldest, so that every run of a seed is the same and no
    batch is dropped unused in a run where sampling and learning take turns. The order is deterministic
    where the paper's is random: nothing else is to be saved for a resumed run to go on alike.
    """

    def __init__(self, num_batches: int, num_uses: int) -> None:
        self._num_batches = num_batches
        self._num_uses = num_uses
        self._batches: deque[SampledBatch] = deque()  # oldest first

    @property
    def unused_env_steps(self) -> int:
        """Environment steps of the batches that were not learned from yet."""
        return sum(batch.num_env_steps for batch in self._batches if not batch.trained)

    def push(self, batch: SampledBatch) -> SampledBatch | None:
        """Add a batch; returns the one that had to go for it."""
        dropped = self._batches.popleft() if len(self._batches) == self._num_batches else None
        self._batches.append(batch)
        return dropped

    def due(self) -> Iterator[SampledBatch]:
        """Yield what to learn from after a push, and count its uses: `num_uses` times a batch.

        Until the buffer was full only the new batch is due, and only once; so the others are there to be
        used again later, `num_batches - 1` pushes after they came.
        """
        full = len(self._batches) == self._num_batches
        for _ in range(self._num_uses if full else 1):
            if not self._batches:
                return
            batch = min(self._batches, key=lambda held: held.uses)  # the first of several: the oldest
            batch.uses += 1
            if batch.uses == self._num_uses:
                self._batches.remove(batch)
            yield batch

    def forget(self, module_id: str) -> None:
        """Let the batches hold nothing of a module; they stay, as long as they would have."""
        for batch in self._batches:
            batch.fragments = {key: held for key, held in batch.fragments.items() if key != module_id}

    def clear(self) -> None:
        """Forget all batches."""
        self._batches.clear()
