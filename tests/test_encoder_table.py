"""Every space with every kind of encoder, in both frameworks: the default module builds, learns, is saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

import rlmodule_tf
import rlmodule_torch
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import RLModuleConfig, framework_module, initial_weights_from
from rlmodule_core.nest import leaves, map_nest
from rlmodule_core.state import flatten_state

Array = npt.NDArray[Any]
MODULES: dict[str, Any] = {
    "torch": rlmodule_torch.TorchActorCriticModule,
    "tf": rlmodule_tf.TfActorCriticModule,
}
SPACES: dict[str, gym.Space[Any]] = {
    "vector": spaces.Box(-1, 1, (3,)),
    "unbounded": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "scalar": spaces.Box(-1, 1, ()),
    "bytes": spaces.Box(0, 255, (6,), np.uint8),
    "matrix": spaces.Box(-1, 1, (3, 2)),
    "rank 4": spaces.Box(-5, 5, (2, 2, 1, 3), np.int16),
    "image": spaces.Box(0, 255, (9, 8, 3), np.uint8),
    "channels first": spaces.Box(0, 255, (3, 9, 8), np.uint8),
    "image of floats": spaces.Box(-1, 1, (7, 7, 1)),
    "classes": spaces.Discrete(4, start=-1),
    "many classes": spaces.MultiDiscrete([3, 9]),
    "board": spaces.MultiDiscrete(np.full((2, 2), 3), start=np.ones((2, 2), np.int64)),
    "bits": spaces.MultiBinary(4),
    "map of bits": spaces.MultiBinary([2, 3]),
    "dict": spaces.Dict({"b": spaces.Discrete(3), "a": spaces.Box(-1, 1, (2,))}),
    "tuple": spaces.Tuple([spaces.MultiBinary(2), spaces.Box(-1, 1, (1,))]),
    "nested": spaces.Dict(
        {
            "eye": spaces.Box(0, 255, (6, 6, 1), np.uint8),
            "rest": spaces.Tuple([spaces.Discrete(9), spaces.Dict({"x": spaces.Box(-1, 1, (2, 2))})]),
        }
    ),
    "masked": spaces.Dict({"action_mask": spaces.MultiBinary(3), "x": spaces.Box(-1, 1, (2,))}),
}
ENCODERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norms and tables": {
        "fcnet_layer_norm": True,
        "conv_layer_norm": True,
        "embedding_dim": 4,
        "vf_share_layers": True,
        "encoder_latent_dim": 5,
    },
    "lstm": {"use_lstm": True, "lstm_cell_size": 4},
    "gru": {"use_gru": True, "lstm_cell_size": 4, "vf_share_layers": True},
}
NEEDS = {
    "conv_layer_norm": {"image", "channels first", "image of floats", "nested"},
    "embedding_dim": {"classes", "many classes", "board", "dict", "nested"},
}
"""The spaces in which a setting has an effect; in the others the catalog refuses it."""

ROWS, STEPS = 4, 3


def make(framework: str, space: gym.Space[Any], settings: Mapping[str, Any], seed: int = 0) -> Any:
    config = RLModuleConfig(
        observation_space=space,
        action_space=spaces.Discrete(3),
        model_config_dict={"fcnet_hiddens": (8,), "initializer": "xavier_uniform", **settings},  # fast
        catalog_class=PPOCatalog,
    )
    with initial_weights_from(seed):
        return MODULES[framework](config)


def draws(space: gym.Space[Any], rows: int) -> Any:
    many = batch_space(space, rows)
    many.seed(0)
    return map_nest(np.asarray, many.sample())


def sequences(flat: Any) -> Any:
    """`[B * T, ...]` -> `[B, T, ...]`."""
    return map_nest(lambda array: array.reshape(ROWS, STEPS, *array.shape[1:]), flat)


def forward(module: Any, obs: Any, phase: str = "train") -> dict[str, Any]:
    """Run on arrays `[N, ...]`, or `[B, T, ...]` where there is a memory."""
    bridge = framework_module(module.framework, "bridge")
    batch = {"obs": obs}
    if module.is_stateful():
        rows = len(leaves(obs)[0])
        batch["state_in"] = map_nest(lambda part: np.stack([part] * rows), module.get_initial_state())
    out = dict(getattr(module, f"forward_{phase}")(bridge.to_tensors(batch)))
    out["inputs"] = out.pop("action_dist").inputs
    return out


def arrays(module: Any, out: dict[str, Any]) -> dict[str, Array]:
    nested = framework_module(module.framework, "bridge").to_numpy({k: out[k] for k in sorted(out)})
    return flatten_state(nested)


def gradients(module: Any, obs: Any) -> dict[str, Array]:
    """Of all outputs, each number with a weight of its own."""
    if module.framework == "torch":
        out = forward(module, obs)
        for part in _outputs(out):
            weight = torch.linspace(1, 2, part.numel()).reshape(part.shape)
            (part * weight).sum().backward(retain_graph=True)
        return {name: np.asarray(p.grad) for name, p in module.named_parameters()}
    known = {held.name: held.variable for held in module._held() if held.learns}
    with tf.GradientTape() as tape:
        out = forward(module, obs)
        weights = [tf.reshape(tf.linspace(1.0, 2.0, tf.size(part)), tf.shape(part)) for part in _outputs(out)]
        total = tf.add_n([tf.reduce_sum(p * w) for p, w in zip(_outputs(out), weights, strict=True)])
    found = tape.gradient(total, list(known.values()))
    return {name: np.asarray(tf.convert_to_tensor(part)) for name, part in zip(known, found, strict=True)}


def _outputs(out: dict[str, Any]) -> list[Any]:
    clamp = torch.clamp if isinstance(out["inputs"], torch.Tensor) else tf.clip_by_value
    return [clamp(out["inputs"], -1e6, 1e6), out["vf_preds"]]  # what is masked is the lowest float


table = pytest.mark.parametrize(
    ("framework", "space", "settings"),
    [
        pytest.param(
            framework,
            space,
            {key: value for key, value in settings.items() if name in NEEDS.get(key, SPACES)},
            id=f"{framework}, {name}, {kind}",
        )
        for framework in MODULES
        for name, space in SPACES.items()
        for kind, settings in ENCODERS.items()
    ],
)


@table
def test_a_space_gets_a_module_that_learns_acts_and_is_saved(
    framework: str, space: gym.Space[Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    module = make(framework, space, settings)
    obs = draws(space, ROWS * STEPS)
    given = sequences(obs) if module.is_stateful() else obs

    moved = gradients(module, given)
    whole = arrays(module, forward(module, given))

    assert whole["vf_preds"].shape == ((ROWS, STEPS) if module.is_stateful() else (ROWS * STEPS,))
    assert all(np.isfinite(part).all() for part in whole.values())
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in moved.values())
    part = arrays(module, forward(module, map_nest(lambda array: array[1:3], given)))
    for name, array in part.items():  # whatever else is in the batch
        np.testing.assert_allclose(array, whole[name][1:3], rtol=1e-5, atol=1e-5)
    if not module.is_stateful():
        by_time = arrays(module, forward(module, sequences(obs)))
        np.testing.assert_allclose(by_time["inputs"].reshape(-1, 3), whole["inputs"], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(by_time["vf_preds"].ravel(), whole["vf_preds"], rtol=1e-5, atol=1e-5)
    acted = arrays(module, forward(module, given, "exploration"))
    np.testing.assert_allclose(acted["inputs"], whole["inputs"], rtol=1e-5, atol=1e-5)
    read = type(module).from_checkpoint(module.save_to_checkpoint(tmp_path / "module"))
    for name, array in arrays(read, forward(read, given)).items():
        np.testing.assert_array_equal(array, whole[name])
