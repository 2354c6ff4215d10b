"""Where numbers stop being finite: in batches that nothing can be learned from, and in what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.learning.errors import LearnerError
from rlmodule_core import Columns
from rlmodule_core.nest import Nest, leaves
from rlmodule_core.state import flatten_state

MAX_SKIPPED_IN_A_ROW = 10
"""So many batches in a row on which a module could take no step end the run."""


class SkippedInARow:
    """Counts the batches in a row on which a module could take no step, and remembers how they began."""

    def __init__(self) -> None:
        self._count = 0
        self._first = ""

    def start_over(self) -> None:
        """Forget them: a step was taken."""
        self._count = 0

    def add(self, module_id: str, weights: list[str], batch: Mapping[str, Nest], loss: Any) -> None:
        """Count one more. `weights` are those of `not_finite_in`, `loss` is the first that the batch gave.

        Raises LearnerError where it is one too many.
        """
        if not self._count:
            found = f"{weights[0]} of the module itself" if weights else _first_not_finite(batch, loss)
            self._first = found
        self._count += 1
        if self._count >= MAX_SKIPPED_IN_A_ROW:
            raise LearnerError(
                f"module {module_id!r}: no step could be taken on {self._count} batches in a row, as their "
                f"gradient was not finite; not finite first: {self._first}. The weights are those of the "
                "last step. If it was one of them, restore an older checkpoint; else look for numbers that "
                "are very large (rewards, observations), scale them down, or lower lr"
            )


def not_finite_in(state: Mapping[str, Any], trained: npt.NDArray[Any]) -> list[str]:
    """Return the arrays of a module's state that are not finite, each with what it holds.

    An infinity counts only if there is one among the weights that are trained, `[P]`: a constant that a
    module keeps, such as what it adds to the logits of masked actions, may be infinite.
    """
    infinite = not np.isfinite(trained).all()
    named = ((name, np.asarray(value)) for name, value in flatten_state(state).items())
    return [
        f"{name} ({array[~np.isfinite(array)][0]})"
        for name, array in named
        if array.dtype.kind == "f" and (np.isnan(array).any() or (infinite and not np.isfinite(array).all()))
    ]


def _first_not_finite(batch: Mapping[str, Nest], loss: Any) -> str:
    """Say what was not finite first on the way from a batch over its loss to the gradient.

    `loss` is a named tuple of scalars, of which the first is made of the others.
    """
    mask = batch.get(Columns.LOSS_MASK)
    for name, column in batch.items():
        for array in map(np.asarray, leaves(column)):
            if mask is not None and array.shape[: mask.ndim] == mask.shape:
                array = array[mask]  # padding may hold anything
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"{name} of the batch ({array[~np.isfinite(array)][0]})"
    total, *parts = loss._fields
    for name in (*parts, total):
        if not np.isfinite(value := float(getattr(loss, name))):
            return f"{name} of the loss ({value})"
    return f"the gradient, of a loss of {float(loss[0]):.4g}"
