"""Many modules as one, and the recipes of many."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    NestedDict,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
)


class Counter(NumpyRLModule):
    """Counts its calls; its one weight is `w`."""

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        super().__init__(config)
        self.calls: list[str] = []
        self.w = np.zeros(2)

    def _forward(self, phase: str) -> Output:
        self.calls.append(phase)
        return {"action_dist": NumpyCategorical(np.zeros((1, 2))), "phase": phase}

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward("train")

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward("exploration")

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward("inference")

    def get_state(self) -> State:
        return {"w": self.w.copy()}

    def set_state(self, state: State) -> None:
        if state["w"].shape != (2,):
            raise ValueError(f"w has shape {state['w'].shape}")
        self.w = state["w"].copy()


class Other(Counter):
    pass


def two() -> tuple[MultiAgentRLModule, Counter, Counter]:
    modules, left, right = MultiAgentRLModule(), Counter(), Counter()
    modules.add_module("left", left)
    modules.add_module("right", right)
    return modules, left, right


def recipe(**fields: Any) -> SingleAgentRLModuleSpec:
    default: dict[str, Any] = {
        "module_class": Counter,
        "observation_space": spaces.Discrete(2),
        "action_space": spaces.Discrete(3),
        "model_config_dict": {},
    }
    return SingleAgentRLModuleSpec(**(default | fields))


@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
@pytest.mark.parametrize("kind", [dict, NestedDict])
def test_each_module_of_the_batch_runs_and_the_output_has_the_ids_of_the_batch(phase: str, kind: Any) -> None:
    modules, left, right = two()

    output = getattr(modules, f"forward_{phase}")(kind({"right": {"obs": 1}}))

    assert {key: out["phase"] for key, out in output.items()} == {"right": phase}
    assert (left.calls, right.calls) == ([], [phase])


def test_an_unknown_id_is_a_key_error_that_lists_the_ids_before_any_module_ran() -> None:
    modules, left, right = two()

    with pytest.raises(KeyError, match=r"no module 'middle'; the ids are \['left', 'right'\]"):
        modules.forward_train({"left": {"obs": 1}, "middle": {"obs": 1}, "right": {"obs": 1}})

    assert left.calls == right.calls == []


def test_a_batch_that_is_no_mapping_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"expected \{module id: batch\}, got ndarray"):
        two()[0].forward_train(np.zeros(3))  # type: ignore[arg-type]


def test_it_reads_as_a_mapping_of_ids_to_modules() -> None:
    modules, left, right = two()

    assert len(modules) == 2
    assert list(modules) == list(modules.keys()) == ["left", "right"]
    assert list(modules.values()) == [left, right]
    assert modules["left"] is left
    assert "left" in modules
    assert "middle" not in modules
    with pytest.raises(KeyError, match="no module 'middle'"):
        modules["middle"]


def test_an_id_that_is_taken_is_replaced_only_when_told_so() -> None:
    modules, left, _ = two()

    with pytest.raises(ValueError, match="'left' is there already; pass override=True"):
        modules.add_module("left", Counter())
    assert modules["left"] is left
    new = Counter()
    modules.add_module("left", new, override=True)
    assert modules["left"] is new


def test_removing_an_unknown_module_is_an_error_unless_told_otherwise() -> None:
    modules, _, _ = two()

    modules.remove_module("left")
    assert list(modules) == ["right"]
    with pytest.raises(KeyError, match=r"no module 'left'; the ids are \['right'\]"):
        modules.remove_module("left")
    modules.remove_module("left", raise_err_if_not_found=False)
    assert list(modules) == ["right"]


def test_foreach_module_gives_each_id_with_its_module() -> None:
    modules, left, right = two()
    assert modules.foreach_module(lambda key, module: (key, module)) == [("left", left), ("right", right)]


def test_state_is_by_id_and_a_partial_state_changes_just_its_modules() -> None:
    modules, left, right = two()
    left.w[:] = 3

    state = modules.get_state()
    modules.set_state({"right": state["left"]})

    assert right.w.tolist() == [3, 3]
    assert set(state) == {"left", "right"}


def test_a_state_that_does_not_fit_somewhere_changes_no_module_and_all_problems_are_named() -> None:
    modules, left, right = two()
    third = Counter()
    modules.add_module("third", third)
    good, bad = {"w": np.ones(2)}, {"w": np.ones(3)}

    with pytest.raises(ValueError, match=r"right: w has shape \(3,\); third: w has shape \(3,\)"):
        modules.set_state({"left": good, "right": bad, "third": bad})
    with pytest.raises(KeyError, match="no module 'nobody'"):
        modules.set_state({"left": good, "nobody": good})

    assert not left.w.any()
    assert not right.w.any()


def test_build_makes_one_module_a_recipe_and_shares_nothing() -> None:
    config = MultiAgentRLModuleConfig(modules={"a": recipe(), "b": recipe(module_class=Other)})

    modules = MultiAgentRLModule(config)

    assert {key: type(module) for key, module in modules.items()} == {"a": Counter, "b": Other}


def test_a_subclass_may_fill_the_modules_in_its_own_build() -> None:
    class Shared(MultiAgentRLModule):
        def build(self) -> None:
            one: RLModule = Counter()
            self._rl_modules = {"a": one, "b": one}

    modules = Shared()
    assert modules["a"] is modules["b"]


def test_incomplete_recipes_are_named_by_id_with_their_missing_fields() -> None:
    spec = MultiAgentRLModuleSpec(
        module_specs={
            "a": recipe(action_space=None),
            "b": recipe(),
            "c": recipe(module_class=None, model_config_dict=None),
        }
    )
    with pytest.raises(
        ValueError, match=r"not set for a \(action_space\); c \(module_class, model_config_dict\)"
    ):
        spec.build()


def test_a_template_or_nothing_cannot_be_built_without_ids() -> None:
    with pytest.raises(ValueError, match="module_specs is one template without ids"):
        MultiAgentRLModuleSpec(module_specs=recipe()).build()
    with pytest.raises(ValueError, match="module_specs is not set"):
        MultiAgentRLModuleSpec().build()


@pytest.mark.parametrize("given", [None, SingleAgentRLModuleSpec()])
def test_an_empty_recipe_is_filled_in_for_every_known_id(given: SingleAgentRLModuleSpec | None) -> None:
    known = {"a": recipe(), "b": recipe(module_class=Other)}

    filled = MultiAgentRLModuleSpec(module_specs=given).filled_in(known)

    assert filled.modules == known
    assert {key: type(module) for key, module in filled.build().items()} == {"a": Counter, "b": Other}


def test_a_template_goes_before_what_is_known_for_every_id() -> None:
    template = SingleAgentRLModuleSpec(module_class=Other, model_config_dict={})
    known = {"a": recipe(model_config_dict={"x": 1}), "b": recipe(action_space=spaces.Discrete(9))}

    filled = MultiAgentRLModuleSpec(module_specs=template).filled_in(known).modules

    assert [spec.module_class for spec in filled.values()] == [Other, Other]
    assert [spec.model_config_dict for spec in filled.values()] == [{}, {}]
    assert filled["b"].action_space == spaces.Discrete(9)


def test_the_recipe_of_an_id_goes_before_what_is_known_and_nothing_given_is_changed() -> None:
    own = {"a": SingleAgentRLModuleSpec(module_class=Other), "b": SingleAgentRLModuleSpec()}
    known = {"b": recipe(), "a": recipe()}
    spec = MultiAgentRLModuleSpec(module_specs=own)

    filled = spec.filled_in(known).modules

    assert filled == {"a": recipe(module_class=Other), "b": recipe()}
    assert own == {"a": SingleAgentRLModuleSpec(module_class=Other), "b": SingleAgentRLModuleSpec()}
    assert known == {"b": recipe(), "a": recipe()}


@pytest.mark.parametrize("ids", [["a", "c"], ["a"], ["a", "b", "c"]])
def test_recipes_for_other_ids_are_an_error_with_both_lists(ids: list[str]) -> None:
    spec = MultiAgentRLModuleSpec(module_specs={key: recipe() for key in ids})

    with pytest.raises(ValueError, match="recipes are given for") as caught:
        spec.filled_in({"b": recipe(), "a": recipe()})

    assert str(ids) in str(caught.value)
    assert "['a', 'b']" in str(caught.value)


def test_the_class_of_the_whole_is_kept_and_built() -> None:
    class Mine(MultiAgentRLModule):
        pass

    spec = MultiAgentRLModuleSpec(marl_module_class=Mine, module_specs={"a": recipe()})

    assert type(spec.build()) is Mine
    assert type(spec.filled_in({"a": recipe()}).build()) is Mine


# --- one recipe over another ------------------------------------------------------------------

A, B = {"x": "a"}, {"x": "b"}


def model(value: dict[str, str] | None, **fields: Any) -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(model_config_dict=value, **fields)


def many(specs: Any) -> MultiAgentRLModuleSpec:
    return MultiAgentRLModuleSpec(module_specs=specs)


@pytest.mark.parametrize(
    ("own", "other", "updated", "overwritten"),
    [
        (None, None, None, None),
        (None, model(B), model(B), model(B)),
        (model(A), None, model(A), model(A)),
        (model(A, module_class=Other), model(B), model(B, module_class=Other), model(B)),
        (
            {"p": model(A, module_class=Other)},
            {"p": model(B)},
            {"p": model(B, module_class=Other)},
            {"p": model(B)},
        ),
        ({"p": model(A)}, {"p": model(None)}, {"p": model(A)}, {"p": model(None)}),
        ({"p": model(A)}, {"p": model({})}, {"p": model({})}, {"p": model({})}),
        ({"p": model(A)}, {"q": model(B)}, {"p": model(A), "q": model(B)}, {"p": model(A), "q": model(B)}),
        ({"p": model(A, module_class=Other)}, model(B), {"p": model(B, module_class=Other)}, {"p": model(B)}),
        (model(A, module_class=Other), {"p": model(B)}, {"p": model(B, module_class=Other)}, {"p": model(B)}),
        (None, {"p": model(B)}, {"p": model(B)}, {"p": model(B)}),
    ],
)
def test_update_takes_over_what_the_other_sets_field_by_field_or_recipe_by_recipe(
    own: Any, other: Any, updated: Any, overwritten: Any
) -> None:
    spec = many(own)
    assert spec.update(many(other)) is spec
    assert spec.module_specs == updated
    assert many(own).update(many(other), overwrite=True).module_specs == overwritten


def test_update_changes_nothing_that_it_was_given_and_takes_over_a_class_that_was_chosen() -> None:
    class Mine(MultiAgentRLModule):
        pass

    own, other = {"p": model(A)}, {"p": model(B)}

    assert many(own).update(MultiAgentRLModuleSpec(marl_module_class=Mine)).marl_module_class is Mine
    assert MultiAgentRLModuleSpec(marl_module_class=Mine).update(many(other)).marl_module_class is Mine
    many(own).update(many(other))
    assert (own["p"].model_config_dict, other["p"].model_config_dict) == (A, B)
    with pytest.raises(ValueError, match="expected a MultiAgentRLModuleSpec, got SingleAgentRLModuleSpec"):
        many(own).update(model(A))  # type: ignore[arg-type]


# --- what it is -------------------------------------------------------------------------------


def test_it_is_a_mapping_that_is_equal_to_itself_alone_and_can_be_in_a_set() -> None:
    modules, left, _ = two()

    assert isinstance(modules, Mapping)
    assert modules.get("left") is left
    assert modules.get("middle") is None
    assert {modules, modules} == {modules}
    assert modules != MultiAgentRLModule()


def test_only_modules_of_one_framework_go_together() -> None:
    class Foreign(Counter):
        framework = "jax"

    class Mixed(MultiAgentRLModule):
        def build(self) -> None:
            self._rl_modules = {"a": Counter(), "b": Foreign()}

    modules, left, _ = two()

    with pytest.raises(ValueError, match="module 'new' is of jax, the others are of numpy"):
        modules.add_module("new", Foreign())
    with pytest.raises(
        ValueError, match=r"Mixed: .* several frameworks: a of numpy, b of jax; make a container"
    ):
        Mixed()
    with pytest.raises(ValueError, match="module 'new': expected an RLModule, got dict"):
        modules.add_module("new", {})  # type: ignore[arg-type]
    assert modules["left"] is left
    assert len(modules) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: recipe(module_class="BC").build(),
            "module_class: expected a subclass of RLModule, got 'BC'",
        ),
        (lambda: recipe(module_class=Counter()).build(), "module_class: expected a subclass of RLModule"),
        (lambda: recipe(action_space=2).build(), "action_space: expected a gymnasium space, got 2"),
        (lambda: recipe(model_config_dict=[1]).build(), r"model_config_dict: expected a dict, got \[1\]"),
        (
            lambda: many({"a": Counter}).build(),
            r"expected \{module id: Single.*but 'a' is the class Counter; pass S",
        ),
        (lambda: many({1: recipe()}).build(), "but module id 1: expected a str, got int"),
        (
            lambda: many({"__own__": recipe(), 2: Counter}).build(),
            r"but module id '__own__': this name means .*; module id 2: .*; 2 is the class Counter",
        ),
        (lambda: many([recipe()]).build(), "or one SingleAgentRLModuleSpec, got list"),
        (
            lambda: MultiAgentRLModuleSpec(marl_module_class=Counter, module_specs={}).build(),  # type: ignore[arg-type]
            "marl_module_class: expected a subclass of MultiAgentRLModule, got <class",
        ),
        (
            lambda: two()[0].add_module("__own__", Counter()),
            "module id '__own__': this name means something else; take another",
        ),
        (lambda: two()[0].add_module(0, Counter()), "module id 0: expected a str, got int"),  # type: ignore[arg-type]
    ],
)
def test_what_is_of_a_wrong_kind_is_named_before_anything_is_built(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("odd", ["__own__", 7, None])
def test_a_build_that_makes_modules_under_ids_that_cannot_be_saved_is_refused_with_all_of_them(
    odd: Any,
) -> None:
    class Odd(MultiAgentRLModule):
        def build(self) -> None:
            self._rl_modules = {"a": Counter(), odd: Counter(), 3: object()}  # type: ignore[dict-item]

    with pytest.raises(
        ValueError,
        match=rf"Odd\.build: .*, but module id {odd!r}: .*; module id 3: .*; 3 is object, which is no",
    ):
        Odd()


def test_a_build_that_sets_no_modules_is_told_what_to_set() -> None:
    class Returning(MultiAgentRLModule):
        def build(self) -> Any:
            return {"a": Counter()}

    with pytest.raises(ValueError, match=r"Returning\.build: set self\._rl_modules to \{module id: module\}"):
        Returning(MultiAgentRLModuleConfig(modules={"a": recipe()}))


def test_calling_the_container_itself_names_the_three_forwards() -> None:
    modules, _, _ = two()

    with pytest.raises(
        TypeError, match=r"^MultiAgentRLModule cannot be called itself: call forward_train\(batch"
    ):
        modules({"a": {}})
