"""What holds for every forward of every module."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium import spaces

from rlmodule_core.columns import Columns
from rlmodule_core.module import Batch, RLModule
from rlmodule_core.multi_agent import DEFAULT_MODULE_ID
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.testing.making import ACTING, PHASES, Making, promised, refused
from rlmodule_specs import SpecError

SPECS = ("_input_specs", *(f"input_specs_{phase}" for phase in PHASES))


class ForwardPromises(Making):
    """The three phases, and the module as one of many."""

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
            with promised(f"forward_{phase} takes its batch by keyword"):
                getattr(module, f"forward_{phase}")(batch=batch)
            self._forward(module, phase, MappingProxyType(batch), "a read-only mapping")
            self._forward(module, phase, NestedDict(batch), "a NestedDict")

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
                    self._forward(module, phase, good)
                for name, bad in self._broken(module, good):
                    refused(SpecError, lambda: forward(bad), f"{phase}: a batch with {name}")  # noqa: B023

    def test_acting_gives_an_action_distribution(self) -> None:
        """`action_dist` is ours or the framework's own, and draws, scores and has a mode."""
        module = self.make_module()
        for phase in ACTING:
            distribution = self._distribution(module, self._act(module, phase, 3))
            value, rows = distribution.sample(), (3, 1) if module.is_stateful() else (3,)
            found = tuple(np.shape(leaves(value)[0])[: len(rows)])
            assert found == rows, f"{phase}: actions of {list(found)} rows and steps, expected {list(rows)}"
            mode = distribution.to_deterministic().sample()
            shapes, expected = ([np.shape(leaf) for leaf in leaves(nest)] for nest in (mode, value))
            assert shapes == expected, f"{phase}: the mode has shapes {shapes}, draws have {expected}"
            self._require_actions(module, value, phase)
            try:
                score = distribution.logp(value)
            except NotImplementedError:  # a deterministic policy
                continue
            assert np.shape(score) == rows, f"{phase}: logp has shape {np.shape(score)}, not {rows}"

    def test_inference_is_repeatable_and_rows_do_not_influence_each_other(self) -> None:
        """The policy for one batch is the same again, and the same row by row."""
        module = self.make_module()
        batch = self.make_batch(module, "inference", 4)
        whole = self._policy(module, batch)
        assert self._close(whole, self._policy(module, batch)), "inference: the same batch, another policy"
        for i in range(4):
            row, part = _row(batch, i), _row(whole, i)
            assert self._close(self._policy(module, row), part), f"row {i} alone has another policy"

    def test_exploration_depends_on_its_rows_and_the_generator_alone(self) -> None:
        """Not on how often it was called, nor on the other rows; noise may be drawn from the generator.

        It is the policy that is compared, not what is drawn from it.
        """
        module, phase = self.make_module(), "exploration"
        batch, rows = self.make_batch(module, phase, 4), self.make_batch(module, phase, 7)
        others = map_nest(lambda column: column[3:], rows)

        def policy(batch: Batch) -> Nest:
            self._seed(module, 0)
            return self._policy(module, batch, phase)

        whole = policy(batch)
        assert self._close(whole, policy(batch)), f"{phase}: the same batch and generator, another policy"
        for i in range(4):
            mixed = _with_row(self._arrays(module, others), self._arrays(module, batch), i)
            part = _row(policy({name: self._tensors(module, column) for name, column in mixed.items()}), i)
            assert self._close(part, _row(whole, i)), f"{phase}: other rows change the policy of row {i}"

    def test_it_is_a_multi_agent_module_of_one(self) -> None:
        """Under the id `default_policy`, as itself."""
        module = self.make_module()
        many = module.as_multi_agent()
        assert list(many) == [DEFAULT_MODULE_ID], f"as_multi_agent() has the ids {list(many)}"
        assert many[DEFAULT_MODULE_ID] is module, "as_multi_agent() holds another module"
        output = many.forward_inference({DEFAULT_MODULE_ID: self.make_batch(module, "inference", 2)})
        assert list(output) == [DEFAULT_MODULE_ID], f"its output has the ids {list(output)}"

    def _require_actions(self, module: RLModule, value: Nest, phase: str) -> None:
        """Demand that discrete actions are of the space; those of a Box are clipped by whoever acts."""
        space = None if module.config is None else module.config.action_space
        if not isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            return
        for action in self._arrays(module, value).reshape((-1, *(space.shape or ()))):
            kind = np.asarray(action).astype(space.dtype)
            assert space.contains(kind[()]), f"{phase}: drew {action!r}, which is no action of {space}"

    def _broken(self, module: RLModule, good: Batch) -> Iterator[tuple[str, Batch]]:
        yield "no obs", {key: value for key, value in good.items() if key != Columns.OBS}
        space = None if module.config is None else module.config.observation_space
        narrowed = [name for name in SPECS if getattr(type(module), name) is not getattr(RLModule, name)]
        if space is not None and space.shape and not narrowed:  # else the module decides what is too much
            wider = np.zeros((2, *space.shape[:-1], space.shape[-1] + 1), np.float32)
            yield "one number too many", {**good, Columns.OBS: self._tensors(module, wider)}


def _row(nest: Nest, i: int) -> Any:
    return map_nest(lambda column: column[i : i + 1], nest)


def _with_row(columns: Any, source: Any, i: int) -> Any:
    """Return columns whose row `i` is that of `source`."""
    copies = map_nest(np.array, columns)
    for copy, column in zip(leaves(copies), leaves(source), strict=True):
        copy[i] = column[i]
    return copies
