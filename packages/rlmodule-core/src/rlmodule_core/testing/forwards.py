"""What holds for every forward of every module."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

import numpy as np
from gymnasium import spaces

from rlmodule_core.columns import Columns
from rlmodule_core.module import Batch, RLModule
from rlmodule_core.multi_agent import DEFAULT_MODULE_ID
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.testing.making import ACTING, PHASES, Making, refused
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

    def test_it_is_a_multi_agent_module_of_one(self) -> None:
        """Under the id `default_policy`, as itself."""
        module = self.make_module()
        many = module.as_multi_agent()
        assert list(many) == [DEFAULT_MODULE_ID]
        assert many[DEFAULT_MODULE_ID] is module
        output = many.forward_inference({DEFAULT_MODULE_ID: self.make_batch(module, "inference", 2)})
        assert list(output) == [DEFAULT_MODULE_ID]

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


def _row(nest: Nest, i: int) -> Nest:
    return map_nest(lambda column: column[i : i + 1], nest)
