"""Many modules as one checkpoint: shared weights once, and what could not be shared again is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    CheckpointError,
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
    register_class,
    write_checkpoint,
)
from rlmodule_core.state import check_same_state


class Body(NumpyRLModule):
    """Logits from a head of its own on top of an encoder that may be somebody else's too."""

    def __init__(self, config: RLModuleConfig | None = None, encoder: Any = None) -> None:
        super().__init__(config)
        self.encoder = np.zeros(1000) if encoder is None else encoder
        self.head = np.zeros(2)

    def _forward_exploration(self, batch: Any) -> Output:
        return {"action_dist": NumpyCategorical(self.head[None])}

    _forward_inference = _forward_exploration

    def _tensors(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "head": self.head}

    def get_state(self) -> State:
        return {name: array.copy() for name, array in self._tensors().items()}

    def set_state(self, state: State) -> None:
        check_same_state(self._tensors(), state, where="Body.set_state")
        for name, array in self._tensors().items():
            array[:] = state[name]


class Shared(MultiAgentRLModule):
    """One encoder for all."""

    def build(self) -> None:
        encoder = np.zeros(1000)
        self._rl_modules = {key: Body(None, encoder) for key in self.config.modules}


class FromNothing(MultiAgentRLModule):
    def build(self) -> None:
        self._rl_modules = {"a": Body(), "b": Body()}


class Needy(MultiAgentRLModule):
    """Its encoder is as large as the recipes of all say, so it cannot do without them."""

    def build(self) -> None:
        sizes = [spec.model_config_dict.get("units", 10) for spec in self.config.modules.values()]
        encoder = np.zeros(max(sizes))
        self._rl_modules = {key: Body(None, encoder) for key in self.config.modules}


class Following(MultiAgentRLModule):
    """Each module is numbered, and the first recipe says what all compute: nothing that shows in a shape."""

    def build(self) -> None:
        first = next(iter(self.config.modules.values()))
        self._rl_modules = {}
        for number, key in enumerate(self.config.modules):
            made: Any = Body()
            made.says = (number, len(self.config.modules), first.model_config_dict.get("activation"))
            self._rl_modules[key] = made


class Narrow(Body):
    def __init__(self, config: RLModuleConfig | None = None) -> None:
        super().__init__(config, np.zeros(3))


class Unregistered(Body):
    pass


for known in (Body, Shared, FromNothing, Needy, Following, Narrow):
    register_class(known)


def recipe(module_class: Any = Body) -> SingleAgentRLModuleSpec:
    return SingleAgentRLModuleSpec(
        module_class=module_class,
        observation_space=spaces.Box(-1, 1, (3,)),
        action_space=spaces.Discrete(2),
        model_config_dict={},
    )


def shared(*ids: str) -> Any:
    modules: Any = Shared(MultiAgentRLModuleConfig(modules={key: recipe() for key in ids}))
    for number, module in enumerate(modules.values()):
        module.encoder[:] = np.arange(1000)
        module.head[:] = number
    return modules


def loaded_from(path: Path, cls: type[MultiAgentRLModule], module_ids: Any = None) -> Any:
    return cls.from_checkpoint(path, module_ids=module_ids)


def test_shared_weights_are_saved_once_and_shared_again(tmp_path: Path) -> None:
    modules = shared("left/1", "right.2")  # ids are any str

    path = modules.save_to_checkpoint(tmp_path / "c")
    loaded = loaded_from(path, MultiAgentRLModule)

    assert (path / "tensors.safetensors").stat().st_size < 1.5 * 8000
    assert loaded.__class__.__name__ == "Shared"
    assert list(loaded) == ["left/1", "right.2"]
    assert loaded["left/1"].encoder is loaded["right.2"].encoder
    assert loaded["left/1"].encoder[999] == 999
    assert loaded["right.2"].head.tolist() == [1, 1]


def test_a_state_of_modules_that_share_holds_one_array_for_them_and_refuses_two_values() -> None:
    modules = shared("a", "b")
    state = modules.get_state()
    assert state["a"]["encoder"] is state["b"]["encoder"]

    state["b"] = {**state["b"], "encoder": np.ones(1000), "head": np.full(2, 9.0)}
    with pytest.raises(
        ValueError, match=r"b\.encoder is the same tensor as a\.encoder, but its values differ"
    ):
        modules.set_state(state)
    assert modules["b"].head.tolist() == [1, 1]
    modules.set_state({"b": state["b"]})
    assert modules["a"].encoder[0] == 1


def test_some_modules_can_be_loaded_alone(tmp_path: Path) -> None:
    path = shared("a", "b", "c").save_to_checkpoint(tmp_path / "c")

    loaded = loaded_from(path, Shared, ["c", "b"])

    assert {key: module.head[0] for key, module in loaded.items()} == {"b": 1, "c": 2}
    with pytest.raises(CheckpointError, match=r"no modules \['d'\]; the ids are \['a', 'b', 'c'\]"):
        Shared.from_checkpoint(path, module_ids=["d", "a"])


def test_what_build_takes_from_recipes_of_others_is_the_same_after_loading_some_or_removing_one(
    tmp_path: Path,
) -> None:
    recipes = {key: recipe() for key in ("b", "a", "c")}
    recipes["b"].model_config_dict = {"activation": "tanh"}
    modules: Any = Following(MultiAgentRLModuleConfig(modules=recipes))
    said = {key: module.says for key, module in modules.items()}
    assert said["c"] == (2, 3, "tanh")

    some = loaded_from(modules.save_to_checkpoint(tmp_path / "c"), Following, ["c", "a"])
    assert {key: module.says for key, module in some.items()} == {"a": said["a"], "c": said["c"]}
    modules.remove_module("b")
    for _ in range(2):
        modules = loaded_from(modules.save_to_checkpoint(tmp_path / "c"), MultiAgentRLModule)
        assert {key: module.says for key, module in modules.items()} == {"a": said["a"], "c": said["c"]}


def test_a_recipe_that_build_may_look_at_and_whose_class_is_not_followed_is_named(tmp_path: Path) -> None:
    recipes = {"a": recipe(Unregistered), "b": recipe()}
    path = Following(MultiAgentRLModuleConfig(modules=recipes)).save_to_checkpoint(tmp_path / "c")

    with pytest.raises(CheckpointError, match="Unregistered"):
        Following.from_checkpoint(path, module_ids=["b"])
    given: Any = Following.from_checkpoint(path, module_ids=["b"], module_classes={"a": Unregistered})
    assert {key: module.says for key, module in given.items()} == {"b": (1, 2, None)}


def test_modules_that_build_makes_from_nothing_are_built_again(tmp_path: Path) -> None:
    modules: Any = FromNothing()
    modules["b"].head[:] = 7

    path = modules.save_to_checkpoint(tmp_path / "c")

    whole = loaded_from(path, MultiAgentRLModule)
    assert {key: module.head[0] for key, module in whole.items()} == {"a": 0, "b": 7}
    assert list(MultiAgentRLModule.from_checkpoint(path, module_ids={"b"})) == ["b"]


def test_modules_added_and_removed_later_are_what_comes_back(tmp_path: Path) -> None:
    modules = shared("a", "b")
    modules.remove_module("a")
    modules.add_module("new", recipe().build())
    modules["new"].head[:] = 5

    loaded = loaded_from(modules.save_to_checkpoint(tmp_path / "c"), MultiAgentRLModule)

    assert {key: module.head[0] for key, module in loaded.items()} == {"b": 1, "new": 5}
    assert loaded["b"].encoder is not loaded["new"].encoder


def needy() -> Any:
    wide = recipe()
    wide.model_config_dict = {"units": 50}
    modules: Any = Needy(MultiAgentRLModuleConfig(modules={"a": recipe(), "b": wide}))
    modules["a"].encoder[:], modules["a"].head[:] = 3, 4
    return modules


def test_a_build_that_needs_a_recipe_has_it_again_after_all_its_modules_were_removed(tmp_path: Path) -> None:
    modules = needy()
    modules.add_module("late", recipe().build())
    modules["late"].head[:] = 7
    modules.remove_module("a")
    modules.remove_module("b")

    loaded = loaded_from(modules.save_to_checkpoint(tmp_path / "c"), MultiAgentRLModule)

    assert {key: module.head[0] for key, module in loaded.items()} == {"late": 7}
    again = loaded_from(loaded.save_to_checkpoint(tmp_path / "d"), MultiAgentRLModule)
    assert list(again) == ["late"]


def test_a_part_is_loaded_where_build_needs_the_recipes_of_the_rest(tmp_path: Path) -> None:
    modules = needy()
    modules.add_module("late", recipe().build())
    path = modules.save_to_checkpoint(tmp_path / "c")

    narrow = loaded_from(path, Needy, ["a"])
    added = loaded_from(path, Needy, ["late"])

    assert list(narrow) == ["a"]
    assert narrow["a"].encoder.shape == (50,)  # as large as b wanted it
    assert (narrow["a"].encoder[0], narrow["a"].head[0]) == (3, 4)
    assert list(added) == ["late"]


def test_a_module_that_took_the_place_of_a_built_one_comes_back_as_itself(tmp_path: Path) -> None:
    modules = needy()
    for made in (modules, FromNothing()):
        made.add_module("a", recipe(Narrow).build(), override=True)
        loaded = loaded_from(made.save_to_checkpoint(tmp_path / "c"), MultiAgentRLModule)
        assert list(loaded) == ["a", "b"]
        assert type(loaded["a"]) is Narrow
        assert type(loaded["b"]) is Body


def test_a_recipe_left_out_that_no_file_can_say_is_no_reason_not_to_save(tmp_path: Path) -> None:
    class Local(Body):
        pass

    modules = MultiAgentRLModuleSpec(module_specs={"a": recipe(), "b": recipe(Local)}).build()
    modules.remove_module("b")

    assert list(loaded_from(modules.save_to_checkpoint(tmp_path / "c"), MultiAgentRLModule)) == ["a"]


def test_a_dtype_that_loading_would_lose_is_refused_with_the_place(tmp_path: Path) -> None:
    modules = shared("a")
    modules["a"].encoder = modules["a"].encoder.astype(np.float32)  # build() makes float64

    with pytest.raises(CheckpointError, match=r"a\.encoder is float32 in the file, float64 in the module"):
        Shared.from_checkpoint(modules.save_to_checkpoint(tmp_path / "c"))


class Scaled(MultiAgentRLModule):
    """Holds an array that is none of its modules'."""

    scale: Any

    def build(self) -> None:
        super().build()
        self.scale = np.ones(2)

    def _own_arrays(self) -> dict[str, Any]:
        return {"scale": self.scale.copy()}

    def _set_own_arrays(self, arrays: Any) -> None:
        self.scale[:] = arrays.get("scale", self.scale)

    def _own_dtypes(self) -> dict[str, str]:
        return {"scale": str(self.scale.dtype)}


def test_a_dtype_of_the_containers_own_that_loading_would_lose_is_refused_with_the_place(
    tmp_path: Path,
) -> None:
    modules: Any = register_class(Scaled)(MultiAgentRLModuleConfig(modules={"a": recipe()}))
    modules.scale = np.full(2, 3, np.float64)
    loaded: Any = Scaled.from_checkpoint(modules.save_to_checkpoint(tmp_path / "c"))
    assert loaded.scale.tolist() == [3, 3]

    modules.scale = modules.scale.astype(np.float32)  # build() makes float64
    with pytest.raises(CheckpointError, match=r"scale is float32 in the file, float64 in the module"):
        Scaled.from_checkpoint(modules.save_to_checkpoint(tmp_path / "c"))


def test_what_was_added_alone_but_shares_is_refused_since_a_file_could_not_say_so(tmp_path: Path) -> None:
    modules = shared("a", "b")
    config = recipe().get_rl_module_config()
    modules.add_module("late", Body(config, modules["a"].encoder))

    with pytest.raises(
        CheckpointError, match=r"late\.encoder is the same parameter as a\.encoder, but late was"
    ):
        modules.save_to_checkpoint(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_no_file_could_describe_is_named(tmp_path: Path) -> None:
    class Local(Body):
        pass

    by_recipe = MultiAgentRLModuleSpec(module_specs={"a": recipe(), "b": recipe(Local)}).build()
    added = MultiAgentRLModule()
    added.add_module("x", Body())

    with pytest.raises(CheckpointError, match=r"save_to_checkpoint: b: .*Local is defined inside a function"):
        by_recipe.save_to_checkpoint(tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"save_to_checkpoint: x: it was built with config=None"):
        added.save_to_checkpoint(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_local_container_and_a_hostile_or_damaged_file_are_refused(tmp_path: Path) -> None:
    class Mine(Shared):
        pass

    with pytest.raises(CheckpointError, match="Mine is defined inside a function"):
        Mine().save_to_checkpoint(tmp_path / "c")
    ours = "rlmodule_core.multi_agent:MultiAgentRLModule"
    any_class: dict[str, Any] = {"modules": [], "left_out": [], "weights": {}, "dtypes": {}}
    trees: list[dict[str, Any]] = [
        any_class | {"class": "os:system"},
        any_class | {"class": "rlmodule_core.module:RLModule"},
        any_class,
        {"class": ours, "weights": {}},
        any_class | {"class": ours, "modules": [1]},
        any_class | {"class": ours, "modules": 3},
        any_class | {"class": ours, "dtypes": 3},
        any_class | {"class": "rlmodule_core.multi_agent:MultiAgentRLModule", "dtypes": [], "left_out": 3},
    ]
    for number, tree in enumerate(trees):
        write_checkpoint(tmp_path / str(number), tree, kind="multi_agent_rl_module")
        with pytest.raises(CheckpointError, match=f"{tmp_path.name}/{number}: "):
            MultiAgentRLModule.from_checkpoint(tmp_path / str(number))
