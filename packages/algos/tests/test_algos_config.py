"""A config as a whole: copies, freezing, and the way to JSON and back."""

from __future__ import annotations

import json
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import AlgorithmConfig, ConfigError, PPOConfig
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.settings import FrozenList
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

SETTERS: dict[str, dict[str, Any]] = {
    "environment": {"env": "CartPole-v1"},
    "framework": {"framework": "torch"},
    "rl_module": {"_enable_rl_module_api": True},
    "training": {"lr": 1e-4},
    "env_runners": {"num_envs_per_env_runner": 2},
    "rollouts": {"num_envs_per_env_runner": 2},
    "learners": {"device": "cpu"},
    "evaluation": {"evaluation_duration": 3},
    "debugging": {"seed": 1},
}


def full() -> PPOConfig:
    """A config with something to change in place at every depth."""
    return (
        PPOConfig()
        .environment("CartPole-v1", env_config={"maps": [["a", {"b": 1}]], "pair": (1, [2]), "limit": None})
        .rl_module(rl_module_spec=SingleAgentRLModuleSpec(model_config_dict={"sizes": [1, 2]}))
        .training(model={"fcnet_hiddens": [8, 8], "own": {"deep": [1]}}, lr=[[0, 1e-3], [100, 0.0]])
        .debugging(seed=3)
    )


def without_code() -> PPOConfig:
    return full().rl_module(rl_module_spec=None)


def loosely(value: Any) -> Any:
    """Forget the type, to try what it forbids."""
    return value


# --- copies -----------------------------------------------------------------------------------


def test_a_config_keeps_a_copy_of_the_mappings_that_it_is_given() -> None:
    model: dict[str, Any] = {"fcnet_hiddens": [8]}
    config = PPOConfig().training(model=model).environment(env_config=model)
    model["fcnet_hiddens"].append(9)
    assert config.model == config.env_config == {"fcnet_hiddens": [8]}


@pytest.mark.parametrize("frozen", [False, True])
def test_a_copy_is_equal_and_shares_nothing_that_can_change(frozen: bool) -> None:
    original = full().freeze() if frozen else full()
    before = repr(original.to_dict())
    twin = original.copy()
    assert repr(twin.to_dict()) == before
    assert type(twin) is PPOConfig

    changed = loosely(twin)
    changed.model["own"]["deep"].append(2)
    changed.env_config["maps"][0][1]["b"] = 2
    changed.env_config["pair"][1].append(3)
    changed.lr[1][1] = 1e-4
    changed.rl_module_spec.model_config_dict["sizes"].append(3)
    changed.rl_module_spec.update(SingleAgentRLModuleSpec(action_space=gym.spaces.Discrete(2)))
    changed.training(gamma=0.5)

    assert repr(original.to_dict()) == before
    assert original.gamma == 0.99


def test_a_copy_shares_no_recipe_of_a_multi_agent_spec() -> None:
    inner = SingleAgentRLModuleSpec(model_config_dict={"sizes": [1]})
    for module_specs in ({"default_policy": inner}, inner):
        original = PPOConfig().rl_module(rl_module_spec=MultiAgentRLModuleSpec(module_specs=module_specs))
        twin = loosely(original.copy())
        copied = twin.rl_module_spec.module_specs
        copied = copied["default_policy"] if isinstance(copied, dict) else copied
        assert copied == inner
        copied.model_config_dict["sizes"].append(2)
    assert inner.model_config_dict == {"sizes": [1]}
    empty = PPOConfig().rl_module(rl_module_spec=MultiAgentRLModuleSpec()).copy().rl_module_spec
    assert empty == MultiAgentRLModuleSpec()


# --- freezing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setter", SETTERS)
def test_a_frozen_config_refuses_each_setter_and_says_to_copy(setter: str) -> None:
    config = full().freeze()
    before = repr(config.to_dict())
    with pytest.raises(ConfigError, match=r"frozen.*change a copy\(\) of it"):
        getattr(config, setter)(**SETTERS[setter])
    assert repr(config.to_dict()) == before
    assert getattr(config.copy(), setter)(**SETTERS[setter]) is not config


def test_freezing_reaches_nested_settings_and_returns_the_config() -> None:
    config = full()
    frozen = loosely(config.freeze())
    assert frozen is loosely(config)
    for mapping in (frozen.model, frozen.model["own"], frozen.env_config["maps"][0][1]):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["new"] = 1
    for sequence in (frozen.model["fcnet_hiddens"], frozen.env_config["pair"][1], frozen.lr, frozen.lr[0]):
        assert isinstance(sequence, FrozenList)
        assert not hasattr(sequence, "append")
    with pytest.raises(ConfigError, match="lr: this config is frozen"):
        frozen.lr = 1.0


def test_an_algorithm_freezes_a_copy_and_leaves_the_users_config_alone() -> None:
    config = PPOConfig().environment("CartPole-v1").training(model={"fcnet_hiddens": [8]})
    with config.build() as algorithm:
        config.training(lr=0.5)
        assert algorithm.config.lr == 3e-4
        with pytest.raises(ConfigError, match="frozen"):
            algorithm.config.training(lr=0.5)


# --- as data ----------------------------------------------------------------------------------


def test_to_dict_gives_every_setting_thawed() -> None:
    plain = full().to_dict()
    thawed = full().freeze().to_dict()
    assert repr(thawed) == repr(plain)
    assert type(thawed["model"]) is type(thawed["model"]["own"]) is dict
    assert type(thawed["model"]["fcnet_hiddens"]) is list
    assert type(thawed["env_config"]["pair"]) is tuple
    assert {"env", "framework_name", "lr", "clip_param", "seed"} <= set(plain)
    thawed["model"]["fcnet_hiddens"].append(1)
    assert full().to_dict()["model"]["fcnet_hiddens"] == [8, 8]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_config_comes_back_from_json(frozen: bool) -> None:
    config = without_code().environment(env_config={"deep": [{"n": np.int64(3)}], "none": None, "on": True})
    back = PPOConfig.from_json(json.loads(json.dumps((config.freeze() if frozen else config).to_json())))
    assert back.env_config == {"deep": [{"n": 3}], "none": None, "on": True}
    assert back.lr == [[0, 1e-3], [100, 0.0]]
    assert back.to_json() == config.to_json()
    assert back.training(lr=0.1).lr == 0.1


class OwnEnv(gym.Env[Any, Any]):
    """Stands for code of the user's."""

    def __init__(self, settings: Any = None) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (without_code().environment(OwnEnv), r"env \(OwnEnv\)"),
        (without_code().environment(lambda settings: OwnEnv()), r"env \(.*<lambda>\)"),
        (full(), r"rl_module_spec \(SingleAgentRLModuleSpec\)"),
        (
            without_code().training(model={"own": {"activation": [math.tanh]}}),
            r"model \(tanh\)",
        ),
        (without_code().environment(env_config={"map": np.zeros(3)}), r"env_config \(ndarray\)"),
        (without_code().environment(env_config={"by id": {1: "a"}}), r"env_config \(dict\)"),
    ],
)
def test_what_json_cannot_hold_is_named_when_it_is_loaded(config: PPOConfig, named: str) -> None:
    written = json.loads(json.dumps(config.to_json()))
    with pytest.raises(ConfigError, match=rf"from_json: {named} cannot be loaded.*pass the config"):
        PPOConfig.from_json(written)


def test_all_code_in_a_file_is_named_at_once() -> None:
    written = full().environment(OwnEnv).to_json()
    with pytest.raises(ConfigError, match=r"env \(OwnEnv\), rl_module_spec \(SingleAgentRLModuleSpec\)"):
        PPOConfig.from_json(written)


def test_json_of_another_shape_is_refused() -> None:
    good = without_code().to_json()
    missing = {name: value for name, value in good.items() if name != "lr"}
    data: Any
    for data, said in (
        (missing, "missing or not known: lr"),
        ({**good, "tau": 1.0, "alpha": 2}, "missing or not known: alpha, tau"),
        ({**good, "lr": "fast", "num_epochs": 0}, "lr: expected a number > 0 .*; num_epochs: expected"),
        ({**good, "framework_name": "jax"}, "framework_name: expected one of 'torch', 'tf'"),
        ([1], "expected a mapping, got list"),
    ):
        with pytest.raises(ConfigError, match=rf"PPOConfig.from_json: .*{said}"):
            PPOConfig.from_json(data)


# --- building ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (PPOConfig(), r"no environment; call .environment\('CartPole-v1'\)"),
        (
            PPOConfig().environment("CartPole-v1").training(train_batch_size=64, minibatch_size=65),
            r"minibatch_size \(65\) is larger than train_batch_size \(64\)",
        ),
        (
            PPOConfig().environment("CartPole-v1").checkpointing(checkpoint_interval=2),
            "checkpointing: checkpoint_interval needs checkpoint_dir",
        ),
    ],
)
def test_settings_that_exclude_one_another_are_refused_when_built(config: PPOConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.build()


def test_a_module_of_another_framework_is_refused_when_built() -> None:
    class NoModule:
        """Says nothing of a framework."""

    anything: Any = NoModule
    spec = SingleAgentRLModuleSpec(module_class=anything)
    config = PPOConfig().environment("CartPole-v1").rl_module(rl_module_spec=spec)
    with pytest.raises(
        ConfigError, match=r"default_policy: NoModule is a module of framework None, .*'torch'"
    ):
        config.build()


@pytest.mark.parametrize(("algorithm", "part"), [("ppo", "nothing"), ("nothing", "loss")])
def test_an_algorithm_without_a_half_for_the_framework_is_an_import_error(algorithm: str, part: str) -> None:
    with pytest.raises(
        ImportError, match=rf"{algorithm}: .* has no {part} for framework\('torch'\)"
    ) as caught:
        Framework("torch").algorithm_part(algorithm, part)
    assert not isinstance(caught.value, ModuleNotFoundError)


def test_the_base_config_builds_nothing_and_says_what_does() -> None:
    with pytest.raises(NotImplementedError, match="PPOConfig"):
        AlgorithmConfig().environment("CartPole-v1").build()
