"""What holds for modules with a state: a sequence is its steps, its episodes, and no padding.

The axes: `B` rows, `T` steps; `obs` and the other columns per step are `[B, T, ...]`, `state_in` and
`state_out` `[B, ...]`. A module without a state passes all of these tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rlmodule_core.columns import Columns
from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.overrides import PHASES
from rlmodule_core.state import flatten_state
from rlmodule_core.testing.making import ACTING, Making

OPTIONAL = (Columns.MASK, Columns.IS_FIRST)
STEPS = 5


class SequencePromises(Making):
    """A module that carries a state computes the same however its steps are cut into batches.

    Training is held to them where it is repeatable; what is drawn anew at each call, as by dropout, cannot
    be compared.
    """

    def test_a_stateful_module_returns_the_state_that_it_takes(self) -> None:
        """`is_stateful` says whether there is a state; `state_out` has the form of `state_in`."""
        module = self.make_module()
        initial = module.get_initial_state()
        said = module.is_stateful()
        assert said == bool(initial), f"is_stateful() is {said}, get_initial_state() is {initial}"
        if not initial:
            return
        assert all(isinstance(leaf, np.ndarray) for leaf in leaves(initial)), "the state is NumPy arrays"
        batch = self.make_batch(module, "inference", 2)
        output = self._forward(module, "inference", batch)
        assert Columns.STATE_OUT in output, f"there is no state_out among {sorted(output)}"
        out = output[Columns.STATE_OUT]
        before = {name: np.shape(leaf) for name, leaf in flatten_state(batch[Columns.STATE_IN]).items()}
        after = {name: np.shape(leaf) for name, leaf in flatten_state(out).items()}
        assert after == before, f"state_out has the shapes {after}, state_in {before}"

    def test_what_is_given_per_step_has_the_axes_of_the_batch(self) -> None:
        """`[B, T, ...]`, not `[B * T, ...]` or `[T, B, ...]`."""
        module = self.make_module()
        if not module.is_stateful():
            return
        for phase in PHASES:
            turned = [self._turned(module, phase, rows) for rows in (2, 3)]
            told = [
                f"{name} is {turned[1][name]}" for name in turned[0] if name in turned[1]
            ]  # not by chance
            assert not told, f"{phase}: {', '.join(told)} for [3, {STEPS}, ...]"

    def test_all_steps_at_once_are_the_single_steps_with_the_state_carried_on(self) -> None:
        """The same outputs and the same last state; `mask` and `is_first` may be left out."""
        module = self.make_module()
        if not module.is_stateful():
            return
        for phase in (*ACTING, "train"):
            batch = self._sequence(module, phase, rows=3)
            if phase == "train" and not self._repeatable(module, phase, batch):
                continue
            whole, end = self._numbers(module, phase, batch)
            state = batch[Columns.STATE_IN]
            for t in range(STEPS):
                step = {k: v for k, v in _steps(batch, t, t + 1).items() if k not in OPTIONAL}
                part, state = self._numbers(module, phase, {**step, Columns.STATE_IN: state})
                assert self._close(part, _steps(whole, t, t + 1)), (
                    f"{phase}: step {t} of {STEPS} at once is not that step alone"
                )
            assert self._close(state, end), f"{phase}: {STEPS} steps at once end in another state"

    def test_is_first_inside_a_sequence_is_a_fresh_start(self) -> None:
        """From there on a row is what it would be from the initial state, whatever came before."""
        module = self.make_module()
        if not module.is_stateful():
            return
        starts = (1, 3, 0)  # of the rows; the first step of all is one too, of a row that has a state
        for phase in PHASES:
            batch = self._sequence(module, phase, rows=len(starts))
            if not self._repeatable(module, phase, batch):
                continue
            first = np.zeros((len(starts), STEPS), bool)
            first[range(len(starts)), starts] = True
            whole, end = self._numbers(module, phase, {**batch, Columns.IS_FIRST: first})
            fresh = map_nest(lambda leaf: leaf[None], module.get_initial_state())
            for row, start in enumerate(starts):
                rest = _rows(_steps(batch, start, STEPS), row) | {Columns.STATE_IN: fresh}
                part, last = self._numbers(module, phase, rest)
                assert self._close(part, _rows(_steps(whole, start, STEPS), row)), (
                    f"{phase}: after is_first at step {start} row {row} is not as from the initial state"
                )
                assert self._close(last, _rows(end, row)), f"{phase}: is_first leaves another state"

    def test_padding_on_the_right_changes_no_real_step_and_no_state(self) -> None:
        """Whatever `mask` marks as no step may hold NaN; the state is that after the last real one."""
        module = self.make_module()
        if not module.is_stateful():
            return
        lengths = (STEPS, 2, 1)  # of the rows
        for phase in PHASES:
            batch = self._sequence(module, phase, rows=len(lengths))
            if not self._repeatable(module, phase, batch):
                continue
            mask = np.arange(STEPS) < np.array(lengths)[:, None]
            padded = {**batch, Columns.MASK: mask}
            padded[Columns.OBS] = map_nest(lambda leaf: _with_nan(leaf, mask), batch[Columns.OBS])  # noqa: B023
            whole, end = self._numbers(module, phase, padded)
            for row, length in enumerate(lengths):
                part, last = self._numbers(module, phase, _rows(_steps(batch, 0, length), row))
                assert self._close(part, _rows(_steps(whole, 0, length), row)), (
                    f"{phase}: {STEPS - length} steps of padding change the outputs of {length} real ones"
                )
                assert self._close(last, _rows(end, row)), (
                    f"{phase}: state_out is not the state after the last real step, where padding follows"
                )

    # --- how it is done -----------------------------------------------------------------------

    def _sequence(self, module: RLModule, phase: str, rows: int) -> dict[str, Any]:
        """Return a batch of `STEPS` steps, as arrays, from a state that is not the initial one."""
        flat = self._arrays(module, dict(self.make_batch(module, phase, rows * STEPS)))
        state = map_nest(lambda leaf: leaf[:rows], flat.pop(Columns.STATE_IN))
        batch = {
            name: map_nest(lambda leaf: leaf.reshape(rows, STEPS, *leaf.shape[2:]), column)
            for name, column in flat.items()
        }
        batch[Columns.MASK] = np.ones((rows, STEPS), bool)
        batch[Columns.IS_FIRST] = np.zeros((rows, STEPS), bool)
        batch[Columns.STATE_IN] = state
        return batch | {Columns.STATE_IN: self._numbers(module, "inference", batch)[1]}

    def _turned(self, module: RLModule, phase: str, rows: int) -> dict[str, str]:
        """Return the columns of an output whose first axes are not rows and steps, with their shapes."""
        output = self._output(module, phase, self._sequence(module, phase, rows))
        shapes = {
            name: [tuple(getattr(leaf, "shape", ())) for leaf in leaves(column)]
            for name, column in output.items()
            if name != Columns.STATE_OUT
        }
        if Columns.ACTION_DIST in output:
            decides = self._decides(module, output)
            shapes[Columns.ACTION_DIST] = [np.shape(leaf) for leaf in leaves(decides)]
        return {
            name: str(list(shape))
            for name, of_leaves in shapes.items()
            for shape in of_leaves
            if shape[:1] == (rows * STEPS,) or shape[:2] == (STEPS, rows)
        }

    def _output(self, module: RLModule, phase: str, batch: Batch) -> Output:
        tensors = {name: self._tensors(module, column) for name, column in batch.items()}
        lacking = [name for name in OPTIONAL if name not in batch]
        return self._forward(module, phase, tensors, f"steps without {' and '.join(lacking) or 'anything'}")

    def _numbers(self, module: RLModule, phase: str, batch: Batch) -> tuple[dict[str, Nest], Nest]:
        """Return what a forward gives per step, as arrays, and the state after it."""
        output = self._output(module, phase, batch)
        assert Columns.STATE_OUT in output, f"{phase}: there is no state_out among {sorted(output)}"
        cut = tuple(leaves(batch[Columns.OBS])[0].shape[:2])
        found = {
            name: self._arrays(module, column)
            for name, column in output.items()
            if all(tuple(getattr(leaf, "shape", ()))[:2] == cut for leaf in leaves(column))
            and name != Columns.STATE_OUT
        }
        if Columns.ACTION_DIST in output:
            found[Columns.ACTION_DIST] = self._decides(module, output)
        return found, self._arrays(module, output[Columns.STATE_OUT])

    def _repeatable(self, module: RLModule, phase: str, batch: Batch) -> bool:
        return self._close(self._numbers(module, phase, batch), self._numbers(module, phase, batch))


def _steps(columns: Batch, start: int, stop: int) -> dict[str, Any]:
    """Cut out steps of what is per step; the state, which is per row, stays."""
    return {
        name: column if name == Columns.STATE_IN else map_nest(lambda leaf: leaf[:, start:stop], column)
        for name, column in columns.items()
    }


def _rows(nest: Any, row: int) -> Any:
    return map_nest(lambda leaf: leaf[row : row + 1], nest)


def _with_nan(leaf: Any, mask: Any) -> Any:
    """Put NaN where there is no step, if the numbers have one."""
    spoiled = np.array(leaf)
    if np.issubdtype(spoiled.dtype, np.floating):
        spoiled[~mask] = np.nan
    return spoiled
