"""What holds for every forward of every module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium import spaces

from rlmodule_core.columns import Columns
from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.multi_agent import DEFAULT_MODULE_ID
from rlmodule_core.nest import Nest, leaves, map_nest, matching_leaves
from rlmodule_core.nested_dict import NestedDict
from rlmodule_core.observation_parts import LeafPath, leaf_at, path_text, with_leaf, without_key
from rlmodule_core.overrides import PHASES
from rlmodule_core.spaces import leaf_shape, nest_of_spaces
from rlmodule_core.testing.actions import action_problems
from rlmodule_core.testing.making import ACTING, Making, promised, refused
from rlmodule_specs import SpecError, SpecType, check

SPECS = ("_input_specs", *(f"input_specs_{phase}" for phase in PHASES))
ROWS, DRAWS = 20, 10
"""How many actions are looked at: enough that a class too many is seen also where it is rare."""


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
            broken = list(self._broken(module, phase, good))
            for good_calls_before in (0, 1, 98):
                for _ in range(good_calls_before):
                    self._forward(module, phase, good)
                for name, bad in broken:
                    refused(SpecError, lambda: forward(bad), f"{phase}: a batch with {name}")  # noqa: B023

    def test_acting_gives_an_action_distribution(self) -> None:
        """`action_dist` is ours or the framework's own, over the action space: draws, scores, has a mode."""
        module = self.make_module()
        for phase in ACTING:
            self._require_actions(module, phase, self._act(module, phase, ROWS))

    def test_training_gives_a_distribution_over_the_same_actions_if_any(self) -> None:
        """What a loss scores the actions with that acting drew."""
        module = self.make_module()
        output = self._act(module, "train", ROWS)
        if Columns.ACTION_DIST in output:
            self._require_actions(module, "train", output)

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

    def _require_actions(self, module: RLModule, phase: str, output: Output) -> None:
        """Demand a distribution that draws and scores actions of the space, one for each row and step."""
        distribution = self._distribution(module, output)
        rows = (ROWS, 1) if module.is_stateful() else (ROWS,)
        with promised(f"{phase}: action_dist draws nests of tensors of the framework"):
            draws = [distribution.sample() for _ in range(DRAWS)]
            drawn = {f"draw {i}": self._arrays(module, value) for i, value in enumerate(draws)}
        for found in (np.shape(leaf)[: len(rows)] for leaf in leaves(drawn["draw 0"])):
            assert found == rows, f"{phase}: actions of {list(found)} rows and steps, expected {list(rows)}"
        if phase in ACTING:
            with promised(f"{phase}: action_dist has a mode, a nest of tensors of the framework"):
                mode = self._arrays(module, distribution.to_deterministic().sample())
            shapes, expected = ([np.shape(leaf) for leaf in leaves(nest)] for nest in (mode, drawn["draw 0"]))
            assert shapes == expected, f"{phase}: the mode has shapes {shapes}, draws have {expected}"
            drawn["the mode"] = mode
        space = None if module.config is None else module.config.action_space
        if space is not None:
            problems = action_problems(space, distribution, drawn, rows, partial(self._arrays, module))
            assert not problems, _no_actions(phase, problems, module.framework)
        with suppress(NotImplementedError):  # a deterministic policy
            score = distribution.logp(draws[0])
            assert np.shape(score) == rows, f"{phase}: logp has shape {np.shape(score)}, not {rows}"

    def _broken(self, module: RLModule, phase: str, good: Batch) -> Iterator[tuple[str, Batch]]:
        """Yield what the default specs refuse, as far as specs of the module's own do not allow it."""
        yield "no obs", {key: value for key, value in good.items() if key != Columns.OBS}
        space = None if module.config is None else module.config.observation_space
        if space is None or not _is_nested_as(space, good[Columns.OBS]):  # `make_batch` gives what it takes
            return
        own = any(getattr(type(module), name) is not getattr(RLModule, name) for name in SPECS)
        spec = getattr(module, f"input_specs_{phase}")() if own else None
        for path, shape in _leaf_shapes(space):
            for name, obs in self._unfit(module, good[Columns.OBS], path, shape):
                bad = {**good, Columns.OBS: obs}
                if not own or not _accepted(spec, bad):
                    yield name, bad

    def _unfit(
        self, module: RLModule, obs: Nest, path: LeafPath, shape: tuple[int, ...] | None
    ) -> Iterator[tuple[str, Nest]]:
        """Yield observations that are wrong in one place."""
        place = f"obs{path_text(path)}"
        if path and isinstance(path[-1], str) and shape is not None:
            parent = leaf_at(obs, path[:-1])
            yield f"no {place}", with_leaf(obs, path[:-1], without_key(parent, path[-1]))
        if shape:
            leaf = self._arrays(module, leaf_at(obs, path))
            wider = np.concatenate([leaf, np.zeros_like(leaf[..., :1])], axis=-1)
            yield f"one number too many in {place}", with_leaf(obs, path, self._tensors(module, wider))


def _leaf_shapes(space: Any, path: LeafPath = ()) -> Iterator[tuple[LeafPath, tuple[int, ...] | None]]:
    """Yield where the leaves of a nested space stand, and their shapes; None for what holds no arrays."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            nested = space.spaces
            pairs = nested.items() if isinstance(nested, dict) else enumerate(nested)
            for key, child in pairs:
                yield from _leaf_shapes(child, (*path, key))
        case _:
            yield path, leaf_shape(space)


def _is_nested_as(space: Any, obs: Nest) -> bool:
    try:
        matching_leaves(nest_of_spaces(space), obs)
    except ValueError:
        return False
    return True


def _accepted(spec: SpecType, batch: Batch) -> bool:
    try:
        check(batch, spec)
    except SpecError:
        return False
    return True


def _no_actions(phase: str, problems: list[str], framework: str) -> str:
    count = "1 place" if len(problems) == 1 else f"{len(problems)} places"
    lines = (
        f"{phase}: action_dist is not over config.action_space, in {count}",
        *problems,
        "distribution_config(action_space) of rlmodule_core says how many inputs one takes (input_dim); "
        f'its build("{framework}") makes it of them',
    )
    return "\n  ".join(lines)


def _row(nest: Nest, i: int) -> Any:
    return map_nest(lambda column: column[i : i + 1], nest)


def _with_row(columns: Any, source: Any, i: int) -> Any:
    """Return columns whose row `i` is that of `source`."""
    copies = map_nest(np.array, columns)
    for copy, column in zip(leaves(copies), leaves(source), strict=True):
        copy[i] = column[i]
    return copies
