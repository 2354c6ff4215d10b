"""Configs, recipes, and spaces as JSON data."""

import json
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
    UnsupportedSpaceError,
    framework_module,
    space_from_dict,
    space_to_dict,
)

INF = np.inf
SPACES: dict[str, Any] = {
    "a plain box": spaces.Box(-1.0, 1.0, (4,)),
    "one infinite bound among finite ones": spaces.Box(
        np.array([-INF, -2], np.float32), np.array([1, INF], np.float32)
    ),
    "all bounds infinite": spaces.Box(-INF, INF, (2, 3)),
    "bounds that only float64 has": spaces.Box(0.1, 1 / 3, (2,), dtype=np.float64),
    "a small float": spaces.Box(-1.0, 1.0, (2,), dtype=np.float16),
    "an image": spaces.Box(0, 255, (4, 4, 3), dtype=np.uint8),
    "the largest integers": spaces.Box(-(2**63), 2**63 - 1, (2,), dtype=np.int64),
    "a box of rank 0": spaces.Box(-1.0, 1.0, ()),
    "an empty box": spaces.Box(0, 255, (3, 0), dtype=np.uint8),
    "a discrete with a start": spaces.Discrete(3, start=-5),
    "a discrete of another dtype": spaces.Discrete(3, dtype=np.int32),
    "a multi-discrete with starts": spaces.MultiDiscrete([2, 3], start=[1, -1], dtype=np.int32),
    "a multi-discrete of rank 2": spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])),
    "a multi-binary": spaces.MultiBinary(4),
    "a multi-binary of rank 2": spaces.MultiBinary([2, 3]),
    "nested": spaces.Dict({"b": spaces.Tuple([spaces.Discrete(2), spaces.Dict({"c": spaces.Box(0, 1)})])}),
    "empty": spaces.Tuple([spaces.Dict({}), spaces.Tuple([])]),
}


class Settings:
    """A catalog that only remembers what it was made from."""

    def __init__(self, observation_space: Any, action_space: Any, model_config_dict: dict[str, Any]) -> None:
        self.given = (observation_space, action_space, model_config_dict)

    masks_actions = False

    def get_normalizer_config(self) -> Any: ...
    def get_encoder_config(self) -> Any: ...
    def get_actor_critic_encoder_config(self) -> Any: ...
    def get_pi_head_config(self) -> Any: ...
    def get_vf_head_config(self) -> Any: ...
    def get_action_dist_config(self) -> Any: ...


class Tiny(NumpyRLModule):
    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(np.zeros((1, 2)))}

    _forward_exploration = _forward_train
    _forward_inference = _forward_train

    def get_state(self) -> State:
        return {}

    def set_state(self, state: State) -> None:
        pass


@pytest.mark.parametrize("name", SPACES)
def test_a_space_survives_json_with_bounds_dtype_start_and_shape(name: str) -> None:
    space = SPACES[name]
    config = RLModuleConfig(observation_space=space, action_space=space)

    text = json.dumps(config.to_dict(), allow_nan=False)  # infinities are words: this is JSON for anyone
    read: Any = RLModuleConfig.from_dict(json.loads(text)).observation_space

    assert type(read) is type(space)
    assert read == space
    assert (read.dtype, read.shape) == (space.dtype, space.shape)
    if isinstance(space, spaces.Box):
        assert read.low.dtype == space.low.dtype
        np.testing.assert_array_equal(read.low, space.low)
        np.testing.assert_array_equal(read.high, space.high)
    if isinstance(space, spaces.Discrete):
        assert (read.n, read.start) == (space.n, space.start)


def test_the_order_of_a_dict_space_survives_since_it_decides_how_a_sample_is_flattened() -> None:
    space = spaces.Dict([("z", spaces.Discrete(2)), ("a", spaces.Discrete(3))])

    read = space_from_dict(json.loads(json.dumps(space_to_dict(space))))

    assert isinstance(read, spaces.Dict)
    assert list(read.spaces) == ["z", "a"]


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Dict({1: spaces.Discrete(2)})])  # type: ignore[dict-item]
def test_a_space_without_a_json_form_is_refused_by_name_with_the_known_kinds(space: Any) -> None:
    with pytest.raises(UnsupportedSpaceError) as caught:
        space_to_dict(spaces.Tuple([space]))

    assert str(space) in str(caught.value)
    assert "Known are: Box, Discrete, MultiDiscrete, MultiBinary" in str(caught.value)


GOOD_BOX = {"type": "Box", "shape": [2], "dtype": "uint8", "low": 0, "high": 9}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "Sphere"},
        {"type": "Discrete"},
        {"type": "Discrete", "n": -1, "start": 0, "dtype": "int64"},
        {"type": "Dict", "spaces": [1]},
        {"type": "Tuple", "spaces": [None]},
        GOOD_BOX | {"dtype": "nonsense"},
        GOOD_BOX | {"high": 300},
        GOOD_BOX | {"low": [0, 0, 0]},
        GOOD_BOX | {"low": "many"},
    ],
)
def test_anything_else_than_a_written_space_is_a_value_error(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        space_from_dict(data)


def test_a_config_survives_json_and_the_caller_brings_the_catalog_class() -> None:
    config = RLModuleConfig(
        observation_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [64], "nested": {"x": None}},
        catalog_class=Settings,
    )

    data = json.loads(json.dumps(config.to_dict()))

    assert data["catalog_class"] == f"{__name__}:Settings"
    assert RLModuleConfig.from_dict(data, catalog_class=Settings) == config
    with pytest.raises(ValueError, match=r"catalog_class: .*:Settings is neither ours nor registered; pass"):
        RLModuleConfig.from_dict(data)


def test_a_written_config_shares_nothing_with_the_config() -> None:
    config = RLModuleConfig(model_config_dict={"a": 1})
    config.to_dict()["model_config_dict"]["a"] = 2
    assert config.model_config_dict == {"a": 1}


def test_a_config_with_other_keys_or_types_is_refused() -> None:
    data = RLModuleConfig().to_dict()

    with pytest.raises(ValueError, match=r"expected the keys .*action_space.*got .*modul"):
        RLModuleConfig.from_dict({"modul": 1})
    with pytest.raises(ValueError, match="model_config_dict: expected a dict"):
        RLModuleConfig.from_dict(data | {"model_config_dict": [1]})


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (RLModuleConfig(), "catalog_class, observation_space, action_space not set"),
        (RLModuleConfig(catalog_class=Settings), "observation_space, action_space not set"),
        (
            RLModuleConfig(catalog_class=Settings, observation_space=spaces.Discrete(2)),
            "get_catalog: action_space not set",
        ),
    ],
)
def test_get_catalog_names_everything_that_is_not_set(config: RLModuleConfig, missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        config.get_catalog()


def test_the_catalog_gets_the_spaces_and_the_settings() -> None:
    box, discrete = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
    catalog = RLModuleConfig(
        observation_space=box,
        action_space=discrete,
        model_config_dict={"a": 1},
        catalog_class=Settings,
    ).get_catalog()

    assert isinstance(catalog, Settings)
    assert catalog.given == (box, discrete, {"a": 1})


def test_a_recipe_that_lacks_fields_names_each_of_them() -> None:
    with pytest.raises(
        ValueError, match="build: module_class, observation_space, action_space, model_config_dict not set"
    ):
        SingleAgentRLModuleSpec().build()
    with pytest.raises(ValueError, match="build: action_space not set"):
        SingleAgentRLModuleSpec(
            module_class=Tiny, observation_space=spaces.Discrete(2), model_config_dict={}
        ).build()


def test_a_recipe_builds_its_class_from_its_fields_and_from_module_gives_it_back() -> None:
    spec = SingleAgentRLModuleSpec(
        module_class=Tiny,
        observation_space=spaces.Discrete(2),
        action_space=spaces.Discrete(3),
        model_config_dict={"a": 1},
        catalog_class=Settings,
    )

    module = spec.build()

    assert type(module) is Tiny
    assert SingleAgentRLModuleSpec.from_module(module) == spec
    assert module.config is not None
    assert module.config.model_config_dict is not spec.model_config_dict
    with pytest.raises(ValueError, match="Tiny was built with config=None"):
        SingleAgentRLModuleSpec.from_module(Tiny(None))


def test_update_takes_what_is_set_also_an_empty_dict_and_keeps_the_rest() -> None:
    spec = SingleAgentRLModuleSpec(
        module_class=Tiny, action_space=spaces.Discrete(3), model_config_dict={"a": 1}
    )

    updated = spec.update(SingleAgentRLModuleSpec(model_config_dict={}, action_space=spaces.Discrete(4)))

    assert updated is spec
    assert spec.model_config_dict == {}
    assert spec.action_space == spaces.Discrete(4)
    assert spec.module_class is Tiny
    assert spec.update(SingleAgentRLModuleSpec()).model_config_dict == {}


def test_update_takes_recipes_only() -> None:
    with pytest.raises(ValueError, match="expected a SingleAgentRLModuleSpec, got dict"):
        SingleAgentRLModuleSpec().update({"module_class": Tiny})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["nowhere", "jax", "numpy"])
def test_a_framework_without_its_package_is_an_import_error_that_says_which_are_ours(name: str) -> None:
    with pytest.raises(ImportError, match=f"needs the package rlmodule_{name}, which is not there") as caught:
        framework_module(name, "builder")
    assert str(caught.value).endswith('; the frameworks of ours are "torch" and "tf"')
    assert "pip" not in str(caught.value)
