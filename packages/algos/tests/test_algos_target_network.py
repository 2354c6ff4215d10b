"""Networks that follow others, on both frameworks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import TargetNetworks, mixed_state
from rlmodule_catalogs import APPOCatalog
from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleSpec, SingleAgentRLModuleSpec
from rlmodule_core.state import flatten_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
MODEL: dict[str, Any] = {"fcnet_hiddens": [4], "normalize_observations": True}


def modules(framework: str) -> MultiAgentRLModule:
    kind = Framework(framework).algorithm_part("appo", "module").DEFAULT_MODULE
    spec = SingleAgentRLModuleSpec(
        module_class=kind,
        observation_space=spaces.Box(-1.0, 1.0, (3,)),
        action_space=spaces.Discrete(2),
        model_config_dict=MODEL,
        catalog_class=APPOCatalog,
    )
    return MultiAgentRLModuleSpec(module_specs={"one": spec, "two": spec}).build()


def flat(module: Any) -> dict[str, Any]:
    return flatten_state(module.get_state())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_soft_update_mixes_weights_and_takes_counts_over(framework: str) -> None:
    learning = modules(framework)
    targets = TargetNetworks(learning, lambda: modules(framework))
    old = flat(learning["one"])
    assert all(np.array_equal(old[name], value) for name, value in flat(targets["one"]).items())
    learning["one"].update_normalizer(np.ones((5, 3), np.float32))
    new = {name: np.asarray(value) for name, value in flat(learning["one"]).items()}
    moved = {name: value + 1 if value.dtype.kind == "f" else value for name, value in new.items()}
    learning["one"].set_state(moved)

    targets.update(0.25)

    for name, value in flat(targets["one"]).items():
        expected = 0.25 * moved[name] + 0.75 * old[name] if moved[name].dtype.kind == "f" else moved[name]
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert targets.num_updates == 1
    targets.update(1.0)
    assert all(np.array_equal(moved[name], value) for name, value in flat(targets["one"]).items())


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_weights_of_a_target_network_are_memory_of_its_own(framework: str) -> None:
    learning = modules(framework)
    targets = TargetNetworks(learning, lambda: modules(framework))
    learning["two"].set_state({name: np.asarray(value) * 0 for name, value in flat(learning["two"]).items()})

    weight = next(
        value for name, value in flat(targets["two"]).items() if name.endswith(("weight", "kernel"))
    )
    assert np.abs(weight).max() > 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_somebody_sets_is_copied_and_what_the_learner_did_is_not(framework: str) -> None:
    learning = modules(framework)
    targets = TargetNetworks(learning, lambda: modules(framework))
    before = {key: flat(targets[key]) for key in ("one", "two")}
    set_to_one(learning["one"])  # by the learner
    targets.part("one")
    targets.remember()
    targets.copy_what_was_set()
    assert same(flat(targets["one"]), before["one"])
    assert not targets.is_copy("one")

    set_to_one(learning["two"])  # by somebody else
    targets.part("two")
    targets.copy_what_was_set()

    assert same(flat(targets["two"]), flat(learning["two"]))
    assert same(flat(targets["one"]), before["one"])
    assert targets.is_copy("two")
    saved = targets.get_state()
    targets.update(1.0)
    assert targets.is_copy("one")
    targets.set_state(saved)
    assert [targets.is_copy(key) for key in ("one", "two")] == [False, True]


def set_to_one(module: Any) -> None:
    state = {name: np.asarray(value) for name, value in flat(module).items()}
    module.set_state({name: np.ones_like(value) for name, value in state.items()})


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.array_equal(value, other[name]) for name, value in one.items())


def test_mixing_keeps_the_dtype() -> None:
    mixed = mixed_state({"w": np.ones(2, np.float32)}, {"w": np.zeros(2, np.float32)}, 0.1)

    assert mixed["w"].dtype == np.float32
