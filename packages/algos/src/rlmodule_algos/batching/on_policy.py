"""Fragment -> batch of real steps with advantages and value targets.

The rows of a batch, `[N, ...]`, are steps of a stateless module and sequences `[S, L, ...]` of a stateful
one; `loss_mask` `[S, L]` then says which steps count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching.evaluation import Evaluation
from rlmodule_algos.batching.fragment import Fragment, IntArray
from rlmodule_algos.batching.sequences import SequenceIndex
from rlmodule_algos.returns import gae
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, concatenated, map_nest

FloatArray = npt.NDArray[np.float32]


@np.errstate(over="ignore", invalid="ignore")  # the learner refuses what is not finite
def advantage_batch(
    fragment: Fragment,
    evaluation: Evaluation,
    *,
    gamma: float,
    lambda_: float,
) -> dict[str, Nest]:
    """Return the real steps with what a policy-gradient loss needs.

    The value targets are `A_t + V(s_t)`; the advantages are as they come, not standardised.
    """
    advantages = gae(
        fragment.rewards,
        evaluation.values,
        evaluation.next_values,
        fragment.terminated,
        fragment.terminated | fragment.truncated,
        fragment.mask if fragment.padded else None,
        gamma=gamma,
        lambda_=lambda_,
    ).astype(np.float32, copy=False)
    columns: dict[str, Nest] = {
        Columns.OBS: map_nest(lambda array: array[:-1], fragment.obs),
        Columns.ACTIONS: fragment.actions,
        Columns.ACTION_LOGP: fragment.action_logp,  # of a step that was open, the weights moved since
        Columns.VF_PREDS: evaluation.values,
        Columns.ADVANTAGES: advantages,
        Columns.VALUE_TARGETS: advantages + evaluation.values,
    }
    if evaluation.dist_inputs is not None:
        columns[Columns.ACTION_DIST_INPUTS] = evaluation.dist_inputs
    return rows_to_learn(columns, evaluation.index, fragment)


def rows_to_learn(
    columns: dict[str, Nest], index: SequenceIndex | None, fragment: Fragment
) -> dict[str, Nest]:
    """Return `[T, B, ...]` columns as rows: real steps, or the sequences of a stateful module's `index`."""
    if index is None:
        return {name: fragment.real(column) for name, column in columns.items()}
    return _sequences(columns, index, fragment)


def _sequences(columns: dict[str, Nest], index: SequenceIndex, fragment: Fragment) -> dict[str, Nest]:
    """Cut the columns into sequences and leave out those whose every step is burn-in."""
    starts = fragment.sequences
    batch = {name: index.gather(column) for name, column in columns.items()}
    batch[Columns.STATE_IN] = None if starts is None else starts.state
    batch[Columns.MASK], batch[Columns.LOSS_MASK] = index.mask, index.learned
    if index.begins is not None:  # tells the module where it must not burn in
        batch[Columns.IS_FIRST] = index.begins
    kept: npt.NDArray[np.bool_] = index.learned.max(axis=1)
    return batch if kept.all() else {name: rows_of(column, kept) for name, column in batch.items()}


def rows_of(column: Nest, rows: npt.NDArray[Any]) -> Nest:
    """Return some rows of a column, given by index or mask."""
    return map_nest(lambda array: array[rows], column)


def steps_in_rows(batch: dict[str, Nest]) -> IntArray | None:
    """Return how many steps of each row count, `[S]`; None where each row is one step."""
    learned = batch.get(Columns.LOSS_MASK)
    return None if learned is None else learned.sum(axis=1)


def counted(batch: dict[str, Nest], name: str) -> FloatArray:
    """Return a column's values on the steps that count, flat."""
    learned, column = batch.get(Columns.LOSS_MASK), batch[name]
    values: FloatArray = column if learned is None else column[learned]
    return values


def join_batches(batches: Sequence[dict[str, Nest]]) -> dict[str, Nest]:
    """Return the rows of all batches, one after the other; a single batch comes back as it is."""
    if len(batches) == 1:
        return batches[0]
    return {name: concatenated([batch[name] for batch in batches]) for name in batches[0]}
