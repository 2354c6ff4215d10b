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
from rlmodule_core.testing.making import Making, refused
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
        """`set_state(get_state())` carries everything that acting depends on."""
        one, other = self.make_module(), self.make_module()
        other.set_state(one.get_state())
        self._act_alike(one, other)

    def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(self) -> None:
        """ValueError for a missing, an unexpected and a misshapen entry."""
        module = self.make_module()
        before = flatten_state(module.get_state())
        for name, state in _unfit(before):
            refused(ValueError, lambda: module.set_state(nest_state(state)), f"a state with {name}")  # noqa: B023
            after = flatten_state(module.get_state())
            assert all(np.array_equal(after[key], before[key], equal_nan=True) for key in before)

    def test_a_checkpoint_gives_a_module_that_acts_the_same(self) -> None:
        """Save, load by the class; where the class or config cannot be written, that is said when saving."""
        module = self.make_module()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module"
            try:
                module.save_to_checkpoint(path)
            except CheckpointError:
                assert not path.exists()
                return
            self._act_alike(module, type(module).from_checkpoint(path))

    def test_copies_act_the_same_with_weights_of_their_own(self) -> None:
        """`copy.deepcopy` and pickle; the copy checks its batches too."""
        module = self.make_module()
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            self._act_alike(module, other)
            before = flatten_state(module.get_state())
            other.set_state(nest_state({k: np.zeros_like(v) for k, v in before.items()}))
            after = flatten_state(module.get_state())
            assert all(np.array_equal(after[name], before[name], equal_nan=True) for name in before)
            refused(SpecError, lambda: other.forward_inference({}), "an empty batch")  # noqa: B023


def _unfit(state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    first = next(iter(state), None)
    yield "an unexpected entry", {**state, "not_mine": np.zeros(1)}
    if first is not None:
        yield "an entry missing", {name: array for name, array in state.items() if name != first}
        yield "a wrong shape", {**state, first: np.zeros((*np.shape(state[first]), 2))}
