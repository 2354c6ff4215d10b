"""What holds for the weights: states, checkpoints, copies."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlmodule_core.checkpoint import CheckpointError
from rlmodule_core.state import flatten_state, nest_state
from rlmodule_core.testing.making import ACTING, Making, promised, refused
from rlmodule_specs import SpecError


class WeightPromises(Making):
    """A state carries everything, fits or is refused, and is a copy."""

    def test_the_state_is_nested_dicts_of_arrays_that_are_copies(self) -> None:
        """Changing what `get_state` returned changes nothing in the module."""
        module = self.make_module()
        state = flatten_state(module.get_state())
        for name, array in state.items():
            assert isinstance(array, np.ndarray), f"{name} is {type(array).__name__}, expected a NumPy array"
            array[...] = 0
        for name, array in flatten_state(module.get_state()).items():
            assert not np.shares_memory(array, state[name]), f"{name} is no copy"

    def test_a_state_makes_another_module_act_the_same(self) -> None:
        """`set_state(get_state())` carries everything that acting depends on; what is set is there.

        The state is one that no new module has, also where all of them start alike.
        """
        one, other = self.make_module(), self.make_module()
        state = flatten_state(moved_state(one.get_state()))
        for module in (one, other):
            with promised("set_state takes what get_state returned, with other numbers"):
                module.set_state(nest_state(state))
            found = flatten_state(module.get_state())
            for name, array in state.items():
                same = np.allclose(found[name], array, rtol=self.tolerance, atol=self.tolerance)
                assert same, f"set_state did not take over {name}"
        self._act_alike(one, other)

    def test_acting_changes_no_weights(self) -> None:
        """Nor statistics, which are part of the state."""
        module = self.make_module()
        before = flatten_state(module.get_state())
        for phase in ACTING:
            for rows in (1, 4):
                self._act(module, phase, rows)
            after = flatten_state(module.get_state())
            changed = [
                name for name in before if not np.array_equal(after[name], before[name], equal_nan=True)
            ]
            assert not changed, f"{phase} changed {', '.join(changed)}"

    def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        """ValueError for a missing, an unexpected and a misshapen entry."""
        module = self.make_module()
        before = flatten_state(module.get_state())
        for name, state in _unfit(before):
            refused(ValueError, lambda: module.set_state(nest_state(state)), f"a state with {name}")  # noqa: B023
            after = flatten_state(module.get_state())
            kept = all(np.array_equal(after[key], before[key], equal_nan=True) for key in before)
            assert kept, f"a state with {name} was refused, but changed the module"

    def test_a_checkpoint_gives_a_module_that_acts_the_same(self) -> None:
        """Save, load by the class; where `saves = False` says that it cannot be, that is refused in time."""
        module = self.make_module()
        module.set_state(moved_state(module.get_state()))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module"
            if not self.saves:
                refused(CheckpointError, lambda: module.save_to_checkpoint(path), "saving (saves = False)")
                assert not path.exists(), "a refused save left files"
                return
            with promised("it can be saved (say saves = False in the test class of one that cannot)"):
                module.save_to_checkpoint(path)
            with promised("what was saved can be loaded"):
                loaded = type(module).from_checkpoint(path)
            self._act_alike(module, loaded)

    def test_copies_act_the_same_with_weights_of_their_own(self) -> None:
        """`copy.deepcopy` and pickle; the copy checks its batches too."""
        module = self.make_module()
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            self._act_alike(module, other)
            before = flatten_state(module.get_state())
            other.set_state(nest_state({k: np.zeros_like(v) for k, v in before.items()}))
            after = flatten_state(module.get_state())
            kept = all(np.array_equal(after[name], before[name], equal_nan=True) for name in before)
            assert kept, "setting a copy's state changed the module that it was copied from"
            refused(SpecError, lambda: other.forward_inference({}), "an empty batch")  # noqa: B023


def moved_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state with other numbers, still positive where they were; tied entries stay tied."""
    flat = flatten_state(state)
    moved = {
        id(array): (array * 1.25 + 0.125).astype(array.dtype)
        for array in flat.values()
        if isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating)
    }
    return nest_state({name: moved.get(id(array), array) for name, array in flat.items()})


def _unfit(state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    first = next(iter(state), None)
    yield "an unexpected entry", {**state, "not_mine": np.zeros(1)}
    if first is not None:
        yield "an entry missing", {name: array for name, array in state.items() if name != first}
        yield "a wrong shape", {**state, first: np.zeros((*np.shape(state[first]), 2))}
