"""From fragments of experience to the batches that losses take."""

from rlmodule_algos.batching.fragment import Fragment
from rlmodule_algos.batching.on_policy import advantage_batch, evaluate_fragment, join_batches

__all__ = ["Fragment", "advantage_batch", "evaluate_fragment", "join_batches"]
