"""A container that loses modules is refused where it is built; what a module refuses names the module."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModule,
    SingleAgentRLModuleSpec,
    State,
)
from rlmodule_specs import SpecError, check


class Acting(NumpyRLModule):
    """Acts at random; what `how` in its batch says goes wrong inside."""

    def _forward_exploration(self, batch: Batch) -> Output:
        match batch.get("how"):
            case "mute":
                return {}
            case "own check":
                check({}, ["key"])
            case "own error":
                raise ValueError("no luck")
        return {"action_dist": NumpyCategorical(np.zeros((len(batch["obs"]), 2)))}

    _forward_inference = _forward_exploration

    def output_specs_train(self) -> list[str]:
        return ["action_dist"]

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        pass


def recipe(size: int = 4) -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(
        module_class=Acting,
        observation_space=spaces.Box(-1, 1, (size,)),
        action_space=spaces.Discrete(2),
        model_config_dict={},
    )


def built(cls: Any, *ids: str) -> MultiAgentRLModule:
    specs = {key: recipe() for key in ids or ("left", "right")}
    return MultiAgentRLModuleSpec(marl_module_class=cls, module_specs=specs).build()


# --- containers that lose modules -------------------------------------------------------------


class NoSuper(MultiAgentRLModule):
    def __init__(self, config: MultiAgentRLModuleConfig) -> None:
        self.config = config


class ReadsTooEarly(MultiAgentRLModule):
    def __init__(self, config: MultiAgentRLModuleConfig) -> None:
        self.number = len(self)


class DropsConfig(MultiAgentRLModule):
    def __init__(self, config: MultiAgentRLModuleConfig) -> None:
        super().__init__()


class OnlyFirst(MultiAgentRLModule):
    def build(self) -> None:
        key, spec = next(iter(self.config.modules.items()))
        self._rl_modules = {key: spec.build(), "critic": spec.build()}


class More(MultiAgentRLModule):
    """Has a module of its own beside those of the recipes, and one that it adds after `build()`."""

    def __init__(self, config: MultiAgentRLModuleConfig) -> None:
        super().__init__(replace(config, modules={"shared": recipe(), **config.modules}))
        self.add_module("late", Acting())


class Misspelled(MultiAgentRLModule):
    def build(self) -> None:
        super().build()
        self.ids = self.config.module  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", [NoSuper, ReadsTooEarly])
def test_a_container_that_forgets_super_is_told_to_call_it(cls: Any) -> None:
    with pytest.raises(TypeError) as caught:
        built(cls)

    assert str(caught.value) == (
        f"{cls.__name__}.__init__: the constructor of the base did not run, so build() made no modules; call "
        "super().__init__(config), after setting what build() needs"
    )


def test_a_container_that_keeps_its_config_from_the_base_is_told_to_pass_it_on() -> None:
    with pytest.raises(ValueError, match="lacks modules") as caught:
        built(DropsConfig)

    assert str(caught.value) == (
        "MultiAgentRLModuleSpec.build: DropsConfig lacks modules: recipes are given for the ids "
        "['left', 'right'], but it made []; its constructor did not pass these recipes on: call "
        "super().__init__(config)"
    )


def test_a_build_that_fills_less_than_every_id_is_told_which_it_left_out() -> None:
    with pytest.raises(ValueError, match="lacks modules") as caught:
        built(OnlyFirst, "a", "b", "c")

    assert str(caught.value) == (
        "MultiAgentRLModuleSpec.build: OnlyFirst lacks modules: recipes are given for the ids "
        "['a', 'b', 'c'], but it made ['a', 'critic']; let its build() put into self._rl_modules a module "
        "for 'b', 'c' too"
    )


def test_a_container_may_have_more_modules_than_the_recipes_name() -> None:
    assert list(built(More)) == ["shared", "left", "right", "late"]


def test_another_mistake_in_a_containers_constructor_stays_the_error_that_it_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'module'"):
        built(Misspelled)


# --- errors inside of a module ----------------------------------------------------------------


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_batch_or_an_output_that_a_module_refuses_says_which_module(phase: str) -> None:
    modules = built(MultiAgentRLModule)
    good = {"obs": np.zeros((3, 4))}

    with pytest.raises(SpecError) as caught:
        getattr(modules, f"forward_{phase}")({"left": good, "right": {"obs": np.zeros((3, 5))}})
    assert str(caught.value).startswith(
        f"right: Acting.forward_{phase}: the batch breaks input_specs_{phase}() in 1 place\n  obs:  expected"
    )
    assert caught.value.where == f"right: Acting.forward_{phase}"
    assert [problem.path for problem in caught.value.problems] == ["obs"]

    with pytest.raises(SpecError, match=rf"^left: Acting\.forward_{phase}: the output breaks output_specs_"):
        getattr(modules, f"forward_{phase}")({"left": {**good, "how": "mute"}, "right": good})


def test_an_error_that_names_its_module_is_the_same_one_after_pickling() -> None:
    with pytest.raises(SpecError) as caught:
        built(MultiAgentRLModule).forward_train({"left": {}})

    other = pickle.loads(pickle.dumps(caught.value))

    assert str(other) == str(caught.value)
    assert other.args == (other.problems, other.where, other.subject, other.rule)


def test_a_check_of_the_modules_own_names_the_module_and_another_error_is_left_as_it_is() -> None:
    modules = built(MultiAgentRLModule)

    with pytest.raises(SpecError, match=r"^right: the data breaks the spec in 1 place"):
        modules.forward_train({"right": {"obs": np.zeros((3, 4)), "how": "own check"}})
    with pytest.raises(ValueError, match=r"^no luck$"):
        modules.forward_train({"right": {"obs": np.zeros((3, 4)), "how": "own error"}})


def test_a_module_called_alone_names_no_id() -> None:
    module: RLModule = built(MultiAgentRLModule)["left"]

    with pytest.raises(SpecError, match=r"^Acting\.forward_train: the batch"):
        module.forward_train({})
