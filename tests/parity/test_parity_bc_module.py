"""The smallest module is one in both frameworks: a state or a checkpoint of one is the other's too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces

from rlmodule_core import RLModuleConfig, initial_weights_from
from rlmodule_core.state import flatten_state
from rlmodule_tf.bc_module import DiscreteBCTfModule
from rlmodule_torch.bc_module import DiscreteBCTorchModule

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1.0, 1.0, (4,)),
    action_space=spaces.Discrete(2, start=1),
    model_config_dict={"fcnet_hiddens": [64]},
)
CLASSES: dict[str, Any] = {"torch": DiscreteBCTorchModule, "tf": DiscreteBCTfModule}
PAIRS = pytest.mark.parametrize(("source", "target"), [("torch", "tf"), ("tf", "torch")])


def made(framework: str, seed: int) -> Any:
    with initial_weights_from(seed):
        return CLASSES[framework](CONFIG)


def acting(framework: str, module: Any, leading: tuple[int, ...] = (16,)) -> dict[str, Any]:
    """Logits, log-probs and entropies for one batch, as arrays."""
    rng = np.random.default_rng(0)
    obs, actions = rng.normal(size=(*leading, 4)).astype(np.float32), rng.integers(1, 3, size=leading)
    tensor: Any = torch.from_numpy if framework == "torch" else tf.constant
    distribution = module.forward_inference({"obs": tensor(obs)})["action_dist"]
    found = {
        "inputs": distribution.inputs,
        "logp": distribution.logp(tensor(actions)),
        "entropy": distribution.entropy(),
    }
    return {name: np.asarray(value) for name, value in found.items()}


def assert_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    for name, array in one.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


@PAIRS
def test_a_checkpoint_of_one_framework_loads_in_the_other_and_acts_the_same(
    source: str, target: str, tmp_path: Path
) -> None:
    module = made(source, seed=1)
    path = module.save_to_checkpoint(tmp_path / "module")

    other = CLASSES[target].from_checkpoint(path)

    assert type(other) is CLASSES[target]
    assert other.config == CONFIG
    assert_alike(acting(source, module), acting(target, other))
    assert_alike(acting(source, module, (3, 5)), acting(target, other, (3, 5)))
    back = CLASSES[source].from_checkpoint(other.save_to_checkpoint(tmp_path / "back"))
    for name, array in flatten_state(module.get_state()).items():
        np.testing.assert_array_equal(flatten_state(back.get_state())[name], array, err_msg=name)


@PAIRS
def test_a_state_of_one_framework_is_set_in_the_other(source: str, target: str) -> None:
    module, other = made(source, seed=1), made(target, seed=2)
    state = module.get_state()
    assert sum(array.size for array in flatten_state(state).values()) == 450

    other.set_state(state)

    assert_alike(acting(source, module), acting(target, other))


def test_the_same_seed_gives_the_same_first_weights() -> None:
    assert_alike(acting("torch", made("torch", seed=7)), acting("tf", made("tf", seed=7)))
