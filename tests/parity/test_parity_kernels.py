"""Convolutions in PyTorch and TensorFlow, whose kernels lie in memory in orders of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces

from rlmodule_catalogs import PPOCatalog
from rlmodule_core import RLModuleConfig, initial_weights_from
from rlmodule_core.state import flatten_state
from rlmodule_tf import TfActorCriticModule, TfUpdater
from rlmodule_tf import bridge as tf_bridge
from rlmodule_torch import TorchActorCriticModule, TorchUpdater
from rlmodule_torch import bridge as torch_bridge

import tensorflow as tf  # isort: skip  # behind rlmodule_tf, which sets what it reads

IMAGES = spaces.Box(0, 255, (7, 6, 3), np.uint8)
MODEL = {
    "fcnet_hiddens": [4],
    "conv_filters": [[5, 3, 2], [4, [4, 3], 1, "valid"]],
    "conv_activation": "tanh",
}
COEFFICIENTS = {"lr": 1e-2}


class Loss(NamedTuple):
    """Of all outputs."""

    total: Any


def learner(framework: str) -> tuple[Any, Any, Any]:
    """Return a module, its updater, and what makes tensors for it."""
    module_class, updater_class, bridge = {
        "torch": (TorchActorCriticModule, TorchUpdater, torch_bridge),
        "tf": (TfActorCriticModule, TfUpdater, tf_bridge),
    }[framework]
    config = RLModuleConfig(
        observation_space=IMAGES,
        action_space=spaces.Discrete(3),
        model_config_dict=MODEL,
        catalog_class=PPOCatalog,
    )
    with initial_weights_from(0):
        module: Any = module_class(config)

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Loss:
        out = module.forward_train(batch)
        per_row = -out["action_dist"].logp(batch["actions"]) + (out["vf_preds"] - batch["targets"]) ** 2
        return Loss(per_row.mean() if module.framework == "torch" else tf.reduce_mean(per_row))

    return module, updater_class(module, loss), bridge.to_tensors


def rows(seed: int) -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {
        "obs": rng.integers(0, 256, (8, *IMAGES.shape)).astype(np.uint8),
        "actions": rng.integers(0, 3, 8),
        "targets": rng.normal(size=8).astype(np.float32),
    }


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    one, other = flatten_state(one), flatten_state(other)
    assert list(one) == list(other)
    for name, array in one.items():
        largest = np.abs(other[name]).max()
        np.testing.assert_allclose(array, other[name], rtol=0, atol=1e-4 * largest, err_msg=name)


def test_weights_and_moments_of_kernels_are_the_same_arrays_in_both() -> None:
    (ours, ours_updater, to_ours), (theirs, theirs_updater, to_theirs) = learner("tf"), learner("torch")
    for seed in range(3):
        ours_updater.step(to_ours(rows(seed)), COEFFICIENTS)
        theirs_updater.step(to_theirs(rows(seed)), COEFFICIENTS)

    assert_same(ours.get_state(), theirs.get_state())
    assert_same(ours_updater.get_state(), theirs_updater.get_state())


@pytest.mark.parametrize(("source", "target"), [("torch", "tf"), ("tf", "torch")])
def test_one_framework_trains_on_from_the_others_weights_and_moments(source: str, target: str) -> None:
    old, old_updater, to_old = learner(source)
    for seed in range(3):
        old_updater.step(to_old(rows(seed)), COEFFICIENTS)
    new, new_updater, to_new = learner(target)

    new.set_state(old.get_state())
    new_updater.set_state(old_updater.get_state())
    old_updater.step(to_old(rows(9)), COEFFICIENTS)
    new_updater.step(to_new(rows(9)), COEFFICIENTS)

    assert_same(new.get_state(), old.get_state())
    assert_same(new_updater.get_state(), old_updater.get_state())


def test_a_state_with_a_kernel_of_another_shape_is_refused_with_the_shapes_it_is_known_by() -> None:
    module = learner("tf")[0]
    state = module.get_state()
    state["encoder"]["actor"]["convs"]["0"]["weight"] = np.zeros((3, 3, 3, 5), np.float32)

    with pytest.raises(ValueError, match=r"0\.weight has shape \(3, 3, 3, 5\), expected \(5, 3, 3, 3\)"):
        module.set_state(state)
