"""From fragments of experience to the batches that losses take."""

from rlmodule_algos.batching.evaluation import Evaluation, actor_critic_output, evaluate_fragment
from rlmodule_algos.batching.fragment import Fragment, SequenceStarts
from rlmodule_algos.batching.on_policy import advantage_batch, counted, join_batches, rows_of, steps_in_rows
from rlmodule_algos.batching.sequences import SequenceIndex, sequence_index

__all__ = [
    "Evaluation",
    "Fragment",
    "SequenceIndex",
    "SequenceStarts",
    "actor_critic_output",
    "advantage_batch",
    "counted",
    "evaluate_fragment",
    "join_batches",
    "rows_of",
    "sequence_index",
    "steps_in_rows",
]
