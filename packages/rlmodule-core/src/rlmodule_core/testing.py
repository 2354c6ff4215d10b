"""The contract of RLModule as tests that any implementation can run.

Subclass `RLModuleConformance` in a test file and say how to make your module; pytest does the rest::

    class TestMine(RLModuleConformance):
        def make_module(self) -> RLModule:
            return MyModule(RLModuleConfig(observation_space=..., action_space=...))

Whatever fails names the promise that is broken. Nothing here needs a test library.
"""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from rlmodule_core.checkpoint import CheckpointError
from rlmodule_core.columns import Columns
from rlmodule_core.distribution import Distribution
from rlmodule_core.frameworks import framework_module
from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.multi_agent import DEFAULT_MODULE_ID
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.state import flatten_state, nest_state
from rlmodule_specs import SpecError

PHASES = ("train", "exploration", "inference")
ACTING = ("exploration", "inference")
SPECS = ("_input_specs", *(f"input_specs_{phase}" for phase in PHASES))


class RLModuleConformance:
    """Override `make_module`, and `make_batch` if the module takes more than observations of its space.

    Two modules that `make_module` makes should start with different weights, or take a state that
    makes them equal; `tolerance` is how far outputs may differ that should be the same.
    """

    tolerance = 1e-5

    def make_module(self) -> RLModule:
        """Return a new module."""
        raise NotImplementedError("make_module: return a new module of yours")

    def make_batch(self, module: RLModule, phase: str, rows: int) -> dict[str, Any]:
        """Return a batch of `rows` rows that `forward_<phase>` takes, of the module's framework."""
        space = None if module.config is None else module.config.observation_space
        if space is None:
            raise NotImplementedError("make_batch: the module has no observation space to draw from")
        steps = batch_space(space, rows)
        steps.seed(rows)
        obs = map_nest(np.asarray, steps.sample())
        if not module.is_stateful():
            return {Columns.OBS: self._tensors(module, obs)}
        state = map_nest(lambda array: np.stack([array] * rows), module.get_initial_state())
        ones = np.ones((rows, 1), bool)
        arrays = {
            Columns.OBS: map_nest(lambda array: array[:, None], obs),
            Columns.STATE_IN: state,
            Columns.MASK: ones,
            Columns.IS_FIRST: ones,
        }
        return {name: self._tensors(module, column) for name, column in arrays.items()}

    # --- the three phases ---------------------------------------------------------------------

    def test_every_phase_takes_its_batch_of_any_size(self) -> None:
        """Forwards accept few and more rows, and acting gives a distribution over as many."""
        module = self.make_module()
        sizes = {"train": (2, 5), "exploration": (1, 5), "inference": (1, 5)}  # statistics need two rows
        for phase, rows in [(phase, rows) for phase, counts in sizes.items() for rows in counts]:
            output = self._forward(module, phase, self.make_batch(module, phase, rows))
            if phase in ACTING:
                mode = leaves(self._distribution(module, output).to_deterministic().sample())
                assert len(mode[0]) == rows, f"{phase}: {len(mode[0])} actions for {rows} rows"

    def test_a_batch_may_be_any_mapping_and_be_passed_by_keyword(self) -> None:
        """Dict, read-only view and NestedDict, by position and by name."""
        module = self.make_module()
        for phase in PHASES:
            batch = self.make_batch(module, phase, 2)
            forward = getattr(module, f"forward_{phase}")
            forward(batch=batch)
            forward(MappingProxyType(batch))
            forward(NestedDict(batch))

    def test_a_forward_leaves_the_batch_as_it_was(self) -> None:
        """The same columns with the same numbers."""
        module = self.make_module()
        for phase in PHASES:
            batch = self.make_batch(module, phase, 2)
            columns = dict(batch)
            before = map_nest(np.array, self._arrays(module, columns))
            self._forward(module, phase, batch)
            assert batch.keys() == columns.keys(), f"{phase} added or removed columns of its batch"
            after = zip(leaves(self._arrays(module, dict(batch))), leaves(before), strict=True)
            assert all(np.array_equal(a, b, equal_nan=True) for a, b in after), f"{phase} changed its batch"

    def test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call(self) -> None:
        """SpecError at the first call, after one that was accepted, and after a hundred."""
        module = self.make_module()
        for phase in PHASES:
            forward, good = getattr(module, f"forward_{phase}"), self.make_batch(module, phase, 2)
            for good_calls_before in (0, 1, 98):
                for _ in range(good_calls_before):
                    forward(good)
                for name, bad in self._broken(module, good):
                    refused(SpecError, lambda: forward(bad), f"{phase}: a batch with {name}")  # noqa: B023

    def test_acting_gives_an_action_distribution(self) -> None:
        """`action_dist` is ours or the framework's own, and draws, scores and has a mode."""
        module = self.make_module()
        for phase in ACTING:
            distribution = self._distribution(module, self._act(module, phase, 3))
            value = distribution.sample()
            assert len(leaves(value)[0]) == 3
            mode = distribution.to_deterministic().sample()
            assert [np.shape(leaf) for leaf in leaves(mode)] == [np.shape(leaf) for leaf in leaves(value)]
            self._require_actions(module, value, phase)
            try:
                score = distribution.logp(value)
            except NotImplementedError:  # a deterministic policy
                continue
            expected = np.shape(leaves(value)[0])[: 1 + module.is_stateful()]
            assert np.shape(score) == expected, f"{phase}: logp has shape {np.shape(score)}, not {expected}"

    def test_inference_is_repeatable_and_rows_do_not_influence_each_other(self) -> None:
        """The policy for one batch is the same again, and the same row by row."""
        module = self.make_module()
        if module.is_stateful():
            return
        batch = self.make_batch(module, "inference", 4)
        whole = self._policy(module, batch)
        assert self._close(whole, self._policy(module, batch)), "the same batch gives another policy"
        for i in range(4):
            row, part = _row(batch, i), _row(whole, i)
            assert self._close(self._policy(module, row), part), f"row {i} has another policy alone"

    def test_a_stateful_module_returns_the_state_that_it_takes(self) -> None:
        """`is_stateful` says whether there is a state; `state_out` has the form of `state_in`."""
        module = self.make_module()
        initial = module.get_initial_state()
        assert module.is_stateful() == bool(initial)
        if not initial:
            return
        assert all(isinstance(leaf, np.ndarray) for leaf in leaves(initial)), "the state is NumPy arrays"
        batch = self.make_batch(module, "inference", 2)
        out = module.forward_inference(batch)[Columns.STATE_OUT]
        before = {name: np.shape(leaf) for name, leaf in flatten_state(batch[Columns.STATE_IN]).items()}
        assert {name: np.shape(leaf) for name, leaf in flatten_state(out).items()} == before

    # --- weights ------------------------------------------------------------------------------

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

    def test_it_is_a_multi_agent_module_of_one(self) -> None:
        """Under the id `default_policy`, as itself."""
        module = self.make_module()
        many = module.as_multi_agent()
        assert list(many) == [DEFAULT_MODULE_ID]
        assert many[DEFAULT_MODULE_ID] is module
        output = many.forward_inference({DEFAULT_MODULE_ID: self.make_batch(module, "inference", 2)})
        assert list(output) == [DEFAULT_MODULE_ID]

    # --- how it is done -----------------------------------------------------------------------

    def _tensors(self, module: RLModule, nest: Nest) -> Nest:
        if module.framework == "numpy":
            return nest
        return framework_module(module.framework, "bridge").to_tensors(nest, module.device)

    def _arrays(self, module: RLModule, nest: Nest) -> Nest:
        return (
            nest
            if module.framework == "numpy"
            else framework_module(module.framework, "bridge").to_numpy(nest)
        )

    def _forward(self, module: RLModule, phase: str, batch: Batch) -> Output:
        output: Output = getattr(module, f"forward_{phase}")(batch)
        assert isinstance(output, Mapping), f"forward_{phase} returned {type(output).__name__}, no mapping"
        return output

    def _act(self, module: RLModule, phase: str, rows: int) -> Output:
        return self._forward(module, phase, self.make_batch(module, phase, rows))

    def _distribution(self, module: RLModule, output: Output) -> Distribution[Any]:
        known: Distribution[Any] = output[Columns.ACTION_DIST]
        if not isinstance(known, Distribution) and module.framework != "numpy":
            known = framework_module(module.framework, "bridge").as_distribution(known)
        return known

    def _require_actions(self, module: RLModule, value: Nest, phase: str) -> None:
        """Demand that discrete actions are of the space; those of a Box are clipped by whoever acts."""
        space = None if module.config is None else module.config.action_space
        if not isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            return
        for action in self._arrays(module, value).reshape((-1, *(space.shape or ()))):
            kind = np.asarray(action).astype(space.dtype)
            assert space.contains(kind[()]), f"{phase}: drew {action!r}, which is no action of {space}"

    def _policy(self, module: RLModule, batch: Batch) -> Nest:
        """Return what decides the actions: the distribution's parameters, or its mode if it has none."""
        distribution = self._distribution(module, self._forward(module, "inference", batch))
        try:
            decides = distribution.inputs
        except NotImplementedError:  # the framework's own kind
            decides = distribution.to_deterministic().sample()
        return self._arrays(module, decides)

    def _close(self, one: Nest, other: Nest) -> bool:
        pairs = zip(leaves(one), leaves(other), strict=True)
        return all(np.allclose(a, b, rtol=self.tolerance, atol=self.tolerance) for a, b in pairs)

    def _act_alike(self, one: RLModule, other: RLModule) -> None:
        batch = self.make_batch(one, "inference", 4)
        assert self._close(self._policy(one, batch), self._policy(other, batch)), "it acts differently"

    def _broken(self, module: RLModule, good: Batch) -> Iterator[tuple[str, Batch]]:
        yield "no obs", {key: value for key, value in good.items() if key != Columns.OBS}
        space = None if module.config is None else module.config.observation_space
        narrowed = [name for name in SPECS if getattr(type(module), name) is not getattr(RLModule, name)]
        if space is not None and space.shape and not narrowed:  # else the module decides what is too much
            wider = np.zeros((2, *space.shape[:-1], space.shape[-1] + 1), np.float32)
            yield "one number too many", {**good, Columns.OBS: self._tensors(module, wider)}


def _row(nest: Nest, i: int) -> Nest:
    return map_nest(lambda column: column[i : i + 1], nest)


def refused(error: type[Exception], call: Callable[[], object], what: str) -> None:
    """Demand that a call raises `error`."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{what} was not refused with {error.__name__}")


def _unfit(state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    first = next(iter(state), None)
    yield "an unexpected entry", {**state, "not_mine": np.zeros(1)}
    if first is not None:
        yield "an entry missing", {name: array for name, array in state.items() if name != first}
        yield "a wrong shape", {**state, first: np.zeros((*np.shape(state[first]), 2))}
