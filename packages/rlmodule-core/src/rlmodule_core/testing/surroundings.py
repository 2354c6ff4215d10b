"""What a module leaves alone: earlier outputs, everybody's generators, the config that it was given."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from rlmodule_core.columns import Columns
from rlmodule_core.module import Output, RLModule
from rlmodule_core.module_config import RLModuleConfig, as_given, given_config
from rlmodule_core.nest import leaves, map_nest
from rlmodule_core.overrides import PHASES
from rlmodule_core.testing.making import Making, promised


class SurroundingPromises(Making):
    """What others hold is theirs.

    The constructor is called once more, with the config alone, unless `saves = False`: it may need more then.
    """

    def test_what_a_forward_gave_stays_as_it_is_when_others_run(self) -> None:
        """No later forward, of whatever phase, writes into the memory of an earlier output."""
        module = self.make_module()
        outputs = {phase: self._act(module, phase, 4) for phase in PHASES}
        before = {phase: self._copied(module, output) for phase, output in outputs.items()}
        for phase in PHASES:
            others = map_nest(lambda column: column[3:], self.make_batch(module, phase, 7))
            self._forward(module, phase, others)
        for phase, output in outputs.items():
            after = self._copied(module, output)
            changed = [name for name, arrays in before[phase].items() if not _equal(after[name], arrays)]
            assert not changed, f"{phase}: a later forward changed {', '.join(changed)} of an earlier one"

    def test_nobody_seeds_the_generators_of_all(self) -> None:
        """Neither the constructor nor a forward: what is drawn after it depends on the seed before it.

        Drawing from them is allowed.
        """
        module = self.make_module()
        if self.saves and module.config is not None:
            config = given_config(module)
            self._require_unseeded(module, lambda: type(module)(as_given(config)), "the constructor")
        for phase in PHASES:
            self._require_unseeded(module, lambda: self._act(module, phase, 2), f"forward_{phase}")  # noqa: B023

    def test_the_config_stays_as_it_was_given(self) -> None:
        """Its spaces, its settings, its catalog: others are built from the same one."""
        module = self.make_module()
        if module.config is None:
            return
        given = _kept(given_config(module))
        if self.saves:
            config = as_given(given_config(module))
            with promised("its class makes it from the config alone (say saves = False where it needs more)"):
                module = type(module)(config)
            assert module.config is config, (
                "the constructor put another config in the place of what it was given"
            )
        _require_same(module.config, given, "the constructor")
        for phase in PHASES:
            self._act(module, phase, 2)
            _require_same(module.config, given, f"forward_{phase}")

    # --- how it is done -----------------------------------------------------------------------

    def _copied(self, module: RLModule, output: Output) -> dict[str, list[Any]]:
        """Return copies of all numbers of an output, as arrays."""
        columns = {**output}
        if Columns.ACTION_DIST in output:
            columns[Columns.ACTION_DIST] = self._decides(module, output)
        return {name: [self._array(module, leaf) for leaf in leaves(columns[name])] for name in columns}

    def _array(self, module: RLModule, leaf: Any) -> Any:
        if not hasattr(leaf, "shape") or isinstance(leaf, np.ndarray):
            return copy.deepcopy(leaf)
        return np.array(self._arrays(module, leaf))

    def _require_unseeded(self, module: RLModule, call: Callable[[], object], what: str) -> None:
        drawn = []
        for number in (1, 2):
            self._seed(module, number)
            call()
            drawn.append(self._draws())
        seeded = [name for name in drawn[0] if drawn[0][name] == drawn[1][name]]
        assert not seeded, f"{what} seeds {', '.join(seeded)}: all others draw from there too"


def _equal(some: list[Any], others: list[Any]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        for a, b in pairs
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    )


def _kept(config: RLModuleConfig) -> RLModuleConfig:
    """Return a config whose spaces stay as they are, also where somebody changes them in place."""
    kept = as_given(config)
    for name in ("observation_space", "action_space"):
        twin = copy.deepcopy(getattr(config, name))
        if twin == getattr(config, name):  # else it cannot be compared
            setattr(kept, name, twin)
    return kept


def _require_same(config: RLModuleConfig, given: RLModuleConfig, what: str) -> None:
    for field in fields(RLModuleConfig):
        found, expected = getattr(config, field.name), getattr(given, field.name)
        assert _same(found, expected), f"{what} changed config.{field.name}: it is {found}, was {expected}"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return one is other or bool(np.all(one == other))
