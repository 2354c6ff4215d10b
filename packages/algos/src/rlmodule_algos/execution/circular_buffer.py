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
    last_use: int = 0  # by the count of all uses of its buffer
    trained: bool = False  # whether a step was taken on it

    def forget(self, module_id: str) -> None:
        """Hold nothing of a module any more."""
        self.fragments = {key: held for key, held in self.fragments.items() if key != module_id}


class CircularBuffer:
    """Holds at most `num_batches`, and gives out each at most `num_uses` times.

    What was not used for the longest time comes first, and a new batch before all others: the uses of a batch
    are spread over the time that it is held, and none is dropped unused in a run where sampling and learning
    take turns. The order is deterministic where the paper's is random, so that every run of a seed is the
    same and nothing else is to be saved for a resumed run to go on alike.
    """

    def __init__(self, num_batches: int, num_uses: int) -> None:
        self._num_batches = num_batches
        self._num_uses = num_uses
        self._batches: deque[SampledBatch] = deque()  # oldest first
        self._uses = 0  # of all batches
        self._was_full = False

    @property
    def unused_env_steps(self) -> int:
        """Environment steps of the batches that were not learned from yet."""
        return sum(batch.num_env_steps for batch in self._batches if not batch.trained)

    def push(self, batch: SampledBatch) -> SampledBatch | None:
        """Add a batch; returns the one that had to go for it."""
        dropped = self._batches.popleft() if len(self._batches) == self._num_batches else None
        self._batches.append(batch)
        self._was_full |= len(self._batches) == self._num_batches
        return dropped

    def due(self) -> Iterator[SampledBatch]:
        """Yield what to learn from after a push, and count its uses: `num_uses` times a batch.

        Until the buffer was full only the new batch is due, and only once; so the others are there to be
        used again later, `num_batches - 1` pushes after they came.
        """
        for _ in range(self._num_uses if self._was_full else 1):
            if not self._batches:
                return
            batch = min(self._batches, key=lambda held: held.last_use)
            self._uses += 1
            batch.last_use = self._uses
            batch.uses += 1
            if batch.uses == self._num_uses:
                self.discard(batch)
            yield batch

    def discard(self, batch: SampledBatch) -> None:
        """Give a batch out no more; nothing happens if it has gone."""
        self._batches = deque(held for held in self._batches if held is not batch)

    def forget(self, module_id: str) -> None:
        """Let the batches hold nothing of a module; they stay, as long as they would have."""
        for batch in self._batches:
            batch.forget(module_id)

    def clear(self) -> None:
        """Forget all batches."""
        self._batches.clear()
        self._was_full = False
