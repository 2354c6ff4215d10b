"""From fragments of experience to the batches that losses take."""

from rlmodule_algos.batching.evaluation import Evaluation, actor_critic_output, evaluate_fragment
from rlmodule_algos.batching.fragment import MAX_SEQ_LEN, Fragment, SequenceStarts
from rlmodule_algos.batching.off_policy import (
    LOG_RATIOS,
    TARGET_LOGP,
    VTraceSettings,
    ratio_statistics,
    vtrace_batch,
)
from rlmodule_algos.batching.on_policy import (
    advantage_batch,
    counted,
    join_batches,
    rows_of,
    rows_to_learn,
    steps_in_rows,
)
from rlmodule_algos.batching.sequences import SequenceIndex, sequence_index

__all__ = [
    "LOG_RATIOS",
    "MAX_SEQ_LEN",
    "TARGET_LOGP",
    "Evaluation",
    "Fragment",
    "SequenceIndex",
    "SequenceStarts",
    "VTraceSettings",
    "actor_critic_output",
    "advantage_batch",
    "counted",
    "evaluate_fragment",
    "join_batches",
    "ratio_statistics",
    "rows_of",
    "rows_to_learn",
    "sequence_index",
    "steps_in_rows",
    "vtrace_batch",
]
