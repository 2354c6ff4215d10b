"""What newcomers get wrong is refused where it was written, in words that say what to write instead."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    CheckpointError,
    Distribution,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    NumpyCategorical,
    NumpyRLModule,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
    numpy_bridge,
    register_class,
)
from rlmodule_core.bc_sizes import discrete_bc_sizes
from rlmodule_specs import SpecError

BOX, TWO = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
DISTRIBUTION = "a distribution over NumPy arrays, such as NumpyCategorical(logits)"


class Mine(NumpyRLModule):
    """Returns what it is told to."""

    returned: ClassVar[Any] = {"action_dist": NumpyCategorical(np.zeros((3, 2)))}

    def _forward_exploration(self, batch: Any) -> Any:
        return self.returned

    _forward_inference = _forward_exploration

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        pass


class NoSuper(Mine):
    def __init__(self, config: RLModuleConfig) -> None:
        self.size = 3


class ReadsTooEarly(Mine):
    def __init__(self, config: RLModuleConfig) -> None:
        self.size = self.config.observation_space.shape


class Typo(Mine):
    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.size = self.config.observation_spaces  # type: ignore[attr-defined]


def recipe(**fields: Any) -> SingleAgentRLModuleSpec:
    given: dict[str, Any] = {
        "module_class": Mine,
        "observation_space": BOX,
        "action_space": TWO,
        "model_config_dict": {},
    }
    return SingleAgentRLModuleSpec(**(given | fields))


def many(modules: Any) -> MultiAgentRLModule:
    return MultiAgentRLModule(MultiAgentRLModuleConfig(modules=modules))


def filled_with(value: Any) -> MultiAgentRLModule:
    class Filled(MultiAgentRLModule):
        def build(self) -> None:
            self._rl_modules = value

    return Filled(MultiAgentRLModuleConfig(modules={"a": recipe()}))


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "recipes in place of the config of many": (
        lambda: MultiAgentRLModule({"a": recipe()}),  # type: ignore[arg-type]
        r"MultiAgentRLModule: config: expected a MultiAgentRLModuleConfig or None, got dict; "
        r"pass MultiAgentRLModuleConfig\(modules=\{module id: spec\}\)",
    ),
    "nothing by an empty dict": (lambda: MultiAgentRLModule({}), "or None, got dict"),  # type: ignore[arg-type]
    "the recipe of many in place of its config": (
        lambda: MultiAgentRLModule(MultiAgentRLModuleSpec(module_specs={"a": recipe()})),  # type: ignore[arg-type]
        r"got MultiAgentRLModuleSpec; .*or build it with MultiAgentRLModuleSpec\(.*\)\.build\(\)",
    ),
    "a class in place of a recipe": (
        lambda: many({"a": Mine}),
        r"MultiAgentRLModuleConfig: modules: expected \{module id: Single.*Spec\}, but 'a' is the class Mine"
        r"; pass SingleAgentRLModuleSpec\(module_class=Mine\)$",
    ),
    "a module in place of a recipe": (
        lambda: many({"a": Mine()}),
        r"but 'a' is a module of Mine; pass SingleAgentRLModuleSpec\(module_class=Mine\), or add_module\(\)",
    ),
    "a class in place of a module": (
        lambda: Mine().as_multi_agent().add_module("a", Mine),  # type: ignore[arg-type]
        "module 'a': expected an RLModule, got <class '.*Mine'>",
    ),
    "a registered name": (
        lambda: register_class("Mine"),  # type: ignore[type-var]
        r"register_class: expected a class, got 'Mine' \(str\)",
    ),
    "no config for sizes": (
        lambda: discrete_bc_sizes(None, where="M"),  # type: ignore[arg-type]
        r"M: config: expected an RLModuleConfig, got None; pass RLModuleConfig\(",
    ),
    "one id to load": (
        lambda: MultiAgentRLModule.from_checkpoint("nowhere", module_ids="pi"),
        "module_ids: expected a list of module ids, got 'pi'",
    ),
    "a number of modules to load": (
        lambda: MultiAgentRLModule.from_checkpoint("nowhere", module_ids=2),  # type: ignore[arg-type]
        "module_ids: expected a list of module ids, got 2",
    ),
    "a class for all ids to load": (
        lambda: MultiAgentRLModule.from_checkpoint("nowhere", module_classes=Mine),  # type: ignore[arg-type]
        r"module_classes: expected \{module id: class\}, got <class ",
    ),
    "an id that is no str": (lambda: many({1: recipe()}), "module id 1: expected a str, got int"),
    "a list of recipes": (lambda: many([recipe()]), r"SingleAgentRLModuleSpec\}, got list"),
    "one recipe without an id": (lambda: many(recipe()), "got SingleAgentRLModuleSpec"),
    "a build that sets a module": (lambda: filled_with(Mine()), "to {module id: module}, got Mine"),
    "a build that sets layers": (
        lambda: filled_with({"a": Mine(), "b": 3}),
        "Filled.build: set self._rl_modules to {module id: module}, but 'b' is int, which is no RLModule",
    ),
    "a dict in place of the config": (
        lambda: Mine({"observation_space": BOX}),  # type: ignore[arg-type]
        r"Mine: config: expected an RLModuleConfig or None, got dict; pass RLModuleConfig\(observation",
    ),
    "a recipe in place of the config": (
        lambda: Mine(recipe()),  # type: ignore[arg-type]
        r"got SingleAgentRLModuleSpec; .* from its SingleAgentRLModuleSpec with build\(\)",
    ),
    "sizes in place of spaces": (
        lambda: RLModuleConfig(observation_space=(4,), action_space=2),
        r"RLModuleConfig: observation_space: expected a gymnasium space, got \(4,\) \(tuple\); "
        r"action_space: expected a gymnasium space, got 2 \(int\)",
    ),
    "no settings": (
        lambda: RLModuleConfig(model_config_dict=None),  # type: ignore[arg-type]
        "model_config_dict: expected a dict, {} for no settings, got None",
    ),
    "a list of settings": (
        lambda: RLModuleConfig(model_config_dict=["relu"]),  # type: ignore[arg-type]
        r"model_config_dict: expected a dict, got \['relu'\] \(list\)",
    ),
    "a catalog by its name": (
        lambda: recipe(catalog_class="PPOCatalog").build(),
        r"catalog_class: expected a class of catalogs, PPOCatalog say, got 'PPOCatalog' \(str\)",
    ),
    "a module in place of its class": (
        lambda: recipe(module_class=Mine()).build(),
        "module_class: expected a subclass of RLModule, got .*; pass the class, Mine, not a module",
    ),
    "a container in place of a module": (
        lambda: recipe(module_class=MultiAgentRLModule).build(),
        r"got <class .*MultiAgentRLModule'>; pass it as MultiAgentRLModuleSpec\(marl_module_class=\.\.\.\)",
    ),
    "a foreign class": (lambda: recipe(module_class=dict).build(), "of RLModule, got <class 'dict'>$"),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_argument_is_a_value_error_that_says_what_to_pass(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RLModuleConfig(obs_space=BOX, action_spaces=TWO, x=1),  # type: ignore[call-arg]
            "RLModuleConfig: no argument 'obs_space', did you mean 'observation_space'?; no argument "
            "'action_spaces', did you mean 'action_space'?; no argument 'x'; the arguments, each by its "
            "name, are observation_space, action_space, model_config_dict, catalog_class",
        ),
        (
            lambda: SingleAgentRLModuleSpec(Mine, module_clas=Mine),  # type: ignore[call-arg]
            "SingleAgentRLModuleSpec: no argument 'module_clas', did you mean 'module_class'?; 1 "
            "without a name; the arguments, each by its name, are module_class, observation_space, "
            "action_space, model_config_dict, catalog_class",
        ),
        (
            lambda: MultiAgentRLModuleSpec({"a": recipe()}),  # type: ignore[arg-type, call-arg]
            "MultiAgentRLModuleSpec: 1 without a name; the arguments, each by its name, are "
            "marl_module_class, module_specs",
        ),
        (
            lambda: MultiAgentRLModuleConfig(module={"a": recipe()}),  # type: ignore[call-arg]
            "MultiAgentRLModuleConfig: no argument 'module', did you mean 'modules'?; the "
            "arguments, each by its name, are modules",
        ),
    ],
)
def test_an_argument_of_a_recipe_that_is_misnamed_or_has_no_name_is_told_the_names(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        make()

    assert str(caught.value) == message


def test_a_config_of_ones_own_may_have_a_constructor_with_other_arguments() -> None:
    class Sized(RLModuleConfig):
        def __init__(self, size: int, **spaces: Any) -> None:
            super().__init__(**spaces)
            self.size = size

    @dataclass(kw_only=True)
    class Wide(RLModuleConfig):
        width: int = 1

    assert Sized(3, action_space=TWO).size == 3
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'size'"):
        Sized(spaces=BOX)  # type: ignore[call-arg]
    assert copy.copy(Wide(width=2, action_space=TWO)).width == 2
    with pytest.raises(TypeError, match=r"Wide: .*'widht', did you mean 'width'\?; .* catalog_class, width$"):
        Wide(widht=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("directory", [None, 3, b"run", "", "a\0b"])
def test_what_is_no_path_is_a_checkpoint_error_that_says_so(directory: Any) -> None:
    module: Any = Mine(RLModuleConfig())
    for made in (module, MultiAgentRLModule()):
        for call in (made.save_to_checkpoint, type(made).from_checkpoint):
            where = (
                rf"{type(made).__name__}\.{call.__name__}: directory: expected a path, as a str or a pathlib"
            )
            with pytest.raises(CheckpointError, match=where):
                call(directory)


@pytest.mark.parametrize("cls", [NoSuper, ReadsTooEarly])
def test_a_constructor_that_forgets_super_is_told_to_call_it(cls: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"{cls.__name__}\.__init__: .*call super\(\).__init__\(config\) first"
    ):
        cls(RLModuleConfig())


def test_another_mistake_in_a_constructor_stays_the_error_that_it_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'observation_spaces'"):
        Typo(RLModuleConfig())


@pytest.mark.parametrize("phase", ["exploration", "inference"])
@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (None, "(root):  expected a mapping with key 'action_dist', got None"),
        (np.zeros(2), "(root):  expected a mapping with key 'action_dist', got numpy float64 [2]"),
        (
            {"action_dist": np.zeros((3, 2))},
            f"action_dist:  expected {DISTRIBUTION}, got numpy float64 [3, 2]",
        ),
        ({"action_dist": "left"}, f"action_dist:  expected {DISTRIBUTION}, got str"),
    ],
)
def test_an_output_without_a_distribution_is_refused_at_once(
    phase: str, returned: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Mine(RLModuleConfig())
    monkeypatch.setattr(Mine, "returned", returned)

    with pytest.raises(SpecError) as caught:
        getattr(module, f"forward_{phase}")({"obs": 1})

    expected = f"Mine.forward_{phase}: the output breaks output_specs_{phase}() in 1 place\n  {problem}"
    assert str(caught.value) == expected


def own_distribution(framework: str | None) -> Distribution[Any]:
    methods = {name: lambda self, *given: None for name in Distribution.__abstractmethods__}
    made: Distribution[Any] = type("Own", (Distribution,), {**methods, "framework": framework})()
    return made


@pytest.mark.parametrize("framework", [None, "numpy"])
def test_a_distribution_of_ones_own_passes_that_says_of_no_other_framework(
    framework: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_distribution(framework)
    monkeypatch.setattr(Mine, "returned", {"action_dist": own})

    assert Mine(RLModuleConfig()).forward_inference({"obs": 1})["action_dist"] is own
    assert numpy_bridge.as_distribution(own) is own


def test_a_distribution_of_ones_own_that_says_of_another_framework_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_distribution("torch")
    monkeypatch.setattr(Mine, "returned", {"action_dist": own})

    with pytest.raises(SpecError, match=f"expected {re.escape(DISTRIBUTION)}, got .*Own"):
        Mine(RLModuleConfig()).forward_inference({"obs": 1})
    with pytest.raises(TypeError, match=f"action_dist: expected {re.escape(DISTRIBUTION)}, got .*Own"):
        numpy_bridge.as_distribution(own)


def test_classes_that_a_module_asks_for_itself_are_named_as_they_are() -> None:
    class Narrow(Mine):
        action_dist_classes: ClassVar[tuple[type, ...]] = (dict,)

    with pytest.raises(SpecError, match=r"action_dist:  expected dict, got .*NumpyCategorical"):
        Narrow(RLModuleConfig()).forward_inference({"obs": 1})


def test_training_that_returns_no_mapping_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mine, "returned", None)
    with pytest.raises(SpecError, match=r"Mine.forward_train: .*\n  \(root\):  expected a mapping, got None"):
        Mine(RLModuleConfig()).forward_train({"obs": 1})


def test_settings_of_another_mapping_reach_the_module_as_a_dict() -> None:
    settings = RLModuleConfig(model_config_dict=MappingProxyType({"a": 1})).model_config_dict  # type: ignore[arg-type]

    assert type(settings) is dict
    assert settings == {"a": 1}


def test_a_base_that_cannot_be_built_is_no_recipe_either() -> None:
    with pytest.raises(TypeError, match="RLModule cannot be built: it lacks _forward_exploration"):
        recipe(module_class=RLModule).build()


def test_calling_the_module_itself_names_the_three_forwards() -> None:
    with pytest.raises(TypeError, match=r"^Mine cannot be called itself: call forward_train\(batch\) to"):
        Mine(RLModuleConfig())({"obs": np.zeros((3, 4))})


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_forward_is_not_replaced_on_an_object_either_since_its_checks_would_be_lost(phase: str) -> None:
    module = Mine(RLModuleConfig())

    with pytest.raises(TypeError, match=rf"Mine.forward_{phase} cannot be set.*override _forward_{phase} in"):
        setattr(module, f"forward_{phase}", lambda batch: {})

    with pytest.raises(SpecError, match="obs"):
        getattr(module, f"forward_{phase}")({})


def test_the_forward_of_one_object_may_be_set_behind_the_checks() -> None:
    module: Any = Mine(RLModuleConfig())
    module._forward_inference = lambda batch: {"actions": batch["obs"]}

    with pytest.raises(SpecError, match="action_dist"):
        module.forward_inference({"obs": np.zeros((3, 4))})


class Remembering(Mine):
    """Begins with the state that it is told to."""

    initial: ClassVar[Any]

    def get_initial_state(self) -> State:
        return self.initial  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        (None, "expected a nested dict of NumPy arrays without batch axis, {} for .*, got NoneType"),
        (np.zeros(3), "expected a nested dict of NumPy arrays without batch axis, {} for .*, got ndarray"),
        ({"h": [0.0], "c": {"x": None}}, "h: expected .*, got list; c.x: expected .*, got NoneType; whoever"),
        ({"h": np.array([None])}, "h: expected a NumPy array of numbers, got one of object; whoever"),
    ],
)
def test_an_initial_state_that_is_no_nest_of_arrays_is_refused_when_the_module_is_made(
    initial: Any, words: str
) -> None:
    class Told(Remembering):
        pass

    Told.initial = initial
    with pytest.raises(ValueError, match=f"^Told.get_initial_state: {words}"):
        Told(RLModuleConfig())
