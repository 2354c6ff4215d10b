"""PyTorch against TensorFlow, layer by layer: same weights, same numbers, same gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces

from rlmodule_catalogs import PPOCatalog
from rlmodule_core import (
    ActorCriticEncoderConfig,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    RLModuleConfig,
    initial_weights_from,
)
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_core.nest import leaves, map_nest
from rlmodule_tf import TfActorCriticModule
from rlmodule_tf import bridge as tf_bridge
from rlmodule_tf._kernels import Kernel
from rlmodule_tf._variables import _held_by
from rlmodule_torch import TorchActorCriticModule
from rlmodule_torch import bridge as torch_bridge

Array = npt.NDArray[Any]
BYTES: dict[str, Any] = {"image": (11, 9, 3), "scale": 1 / 255, "activation": "tanh"}  # odd sizes
SAME = ConvLayer(channels=4, kernel=(4, 4), stride=(2, 2))
VALID = ConvLayer(channels=5, kernel=(3, 2), stride=(1, 2), padding="valid")
RNN = RecurrentEncoderConfig(base=MLPEncoderConfig(input_dim=3, hidden=(4,)), hidden_dim=5)
COMPLEX = ComplexEncoderConfig(
    leaves=(
        (("image",), CNNEncoderConfig(**BYTES, layers=(SAME,))),
        (("parts", 1), EmbeddingEncoderConfig(shape=(2,), sizes=(4, 3), start=(0, 1), dim=3)),
        (("parts", 0), OneHotEncoderConfig(shape=(), sizes=(3,), start=(0,))),
        (("vector",), FlattenEncoderConfig(shape=(2, 2))),
    ),
    fusion=MLPEncoderConfig(input_dim=4 * 6 * 5 + 6 + 3 + 4, hidden=(6,), layer_norm=True),
)


def images(*leading: int, first: bool = False) -> Array:
    shape = (3, 11, 9) if first else (11, 9, 3)
    return np.random.default_rng(0).integers(0, 256, (*leading, *shape)).astype(np.uint8)


def vectors(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def nested(*leading: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, leading), rng.integers(-1, 5, (*leading, 2))
    return {"image": images(*leading), "parts": classes, "vector": vectors(*leading, 2, 2)}


def sequence(cell: str = "lstm") -> tuple[Any, ...]:
    """Observations with NaN in their padding, a state, the mask, and resets."""
    rng, obs = np.random.default_rng(0), vectors(4, 6, 3)
    mask = np.arange(6) < np.array([[6], [3], [0], [5]])
    mask[0, 2] = False
    obs[~mask] = np.nan
    names = ("h", "c") if cell == "lstm" else ("h",)
    return (
        obs,
        {name: vectors(4, 5, seed=seed) for seed, name in enumerate(names)},
        mask,
        rng.random((4, 6)) < 0.3,
    )


CASES: list[Any] = [
    pytest.param(CNNEncoderConfig(**BYTES, layers=(SAME,)), (images(5),), id="same"),
    pytest.param(CNNEncoderConfig(**BYTES, layers=(VALID,)), (images(5),), id="valid"),
    pytest.param(
        CNNEncoderConfig(**BYTES, layers=(SAME, VALID), layer_norm=True, hidden=(6,)),
        (images(2, 3),),
        id="convolutions with norm",
    ),
    pytest.param(
        CNNEncoderConfig(**BYTES, layers=(VALID, SAME), channels_first=True),
        (images(5, first=True),),
        id="channels first",
    ),
    *(
        pytest.param(
            MLPEncoderConfig(input_dim=3, hidden=(5, 4), initializer=name, layer_norm=name == "orthogonal"),
            (vectors(5, 3),),
            id=name,
        )
        for name in INITIALIZER_NAMES
    ),
    pytest.param(MLPHeadConfig(input_dim=3, output_dim=2, hidden=(4,)), (vectors(2, 5, 3),), id="head"),
    pytest.param(COMPLEX, (nested(5),), id="nested"),
    *(
        pytest.param(replace(RNN, cell=cell, burn_in=burn_in), sequence(cell), id=f"{cell} {burn_in}")
        for cell in ("lstm", "gru")
        for burn_in in (0, 2)
    ),
    *(
        pytest.param(
            ActorCriticEncoderConfig(base=RNN, shared=shared),
            (sequence()[0], {part: sequence()[1] for part in parts}, *sequence()[2:]),
            id=f"actor and critic {shared}",
        )
        for shared, parts in ((True, ["actor"]), (False, ["actor", "critic"]))
    ),
]


def pair(config: Any) -> tuple[Any, Any]:
    with initial_weights_from(0):
        ours = config.build("tf")
    with initial_weights_from(0):
        return ours, config.build("torch")


def weighted(outs: list[Any]) -> list[Array]:
    return [
        np.linspace(-1.0, 2.0, int(np.prod(out.shape)), dtype=np.float32).reshape(out.shape) for out in outs
    ]


def tf_result(layer: Any, given: tuple[Any, ...], compiled: bool) -> tuple[list[Array], dict[str, Array]]:
    known = {held.name: held for held in _held_by(layer) if held.learns}

    def run(*args: Any) -> Any:
        with tf.GradientTape() as tape:
            outs = leaves(layer(*args))
            total = tf.add_n([tf.reduce_sum(o * w) for o, w in zip(outs, weighted(outs), strict=True)])
        found = tape.gradient(total, [held.variable for held in known.values()])
        return outs, [tf.convert_to_tensor(part) for part in found]

    outs, found = (tf.function(run, autograph=False) if compiled else run)(*tf_bridge.to_tensors(given))
    moved = {
        name: Kernel.known(gradient.numpy()) if isinstance(held.state, Kernel) else gradient.numpy()
        for (name, held), gradient in zip(known.items(), found, strict=True)
    }
    return [out.numpy() for out in outs], moved


def torch_result(layer: Any, given: tuple[Any, ...]) -> tuple[list[Array], dict[str, Array]]:
    outs = leaves(layer(*torch_bridge.to_tensors(given)))
    total = sum((o * torch.from_numpy(w)).sum() for o, w in zip(outs, weighted(outs), strict=True))
    assert isinstance(total, torch.Tensor)
    total.backward()
    return [out.detach().numpy() for out in outs], {n: p.grad.numpy() for n, p in layer.named_parameters()}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize(("config", "given"), CASES)
def test_outputs_and_gradients_agree(config: Any, given: tuple[Any, ...], compiled: bool) -> None:
    ours, theirs = pair(config)

    ours_out, ours_moved = tf_result(ours, given, compiled)
    theirs_out, theirs_moved = torch_result(theirs, given)

    for one, other in zip(ours_out, theirs_out, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert list(ours_moved) == list(theirs_moved)
    for name, gradient in ours_moved.items():
        largest = np.abs(theirs_moved[name]).max()
        assert largest > 0, name
        np.testing.assert_allclose(gradient, theirs_moved[name], rtol=1e-5, atol=1e-5 * largest, err_msg=name)


@pytest.mark.parametrize(("config", "given"), CASES)
def test_one_seed_gives_both_the_same_weights_under_the_same_names(config: Any, given: Any) -> None:
    ours, theirs = pair(config)
    named = {held.name: held.state.numpy() for held in _held_by(ours)}

    assert list(named) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(named[name], tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("size", [(7, 6), (8, 8), (5, 9)])
@pytest.mark.parametrize("layer", [SAME, ConvLayer(channels=2, kernel=(3, 5), stride=(3, 2))])
def test_same_padding_is_what_tensorflow_calls_so(layer: ConvLayer, size: tuple[int, int]) -> None:
    config = CNNEncoderConfig(image=(*size, 3), layers=(layer,), activation="linear")
    ours, theirs = pair(config)
    x = vectors(2, *size, 3)

    expected = tf.reshape(tf.nn.conv2d(x, ours.convs[0].weight.variable, list(layer.stride), "SAME"), [2, -1])

    np.testing.assert_allclose(ours(tf.constant(x)), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(theirs(torch.from_numpy(x)).detach(), expected, rtol=1e-5, atol=1e-5)


def test_running_moments_are_the_same_numbers() -> None:
    config = NormalizerConfig(leaves=((("a",), (3,)), (("b", 0), (2, 2))))
    ours, theirs = pair(config)
    for seed in range(3):
        seen = {"a": 4 + vectors(9, 3, seed=seed), "b": (vectors(9, 2, 2, seed=seed),)}
        ours.update(seen)
        theirs.update(seen)

    for held in _held_by(ours):
        np.testing.assert_array_equal(held.variable.numpy(), theirs.state_dict()[held.name].numpy())
    x = {"a": 4 + vectors(2, 5, 3), "b": (vectors(2, 5, 2, 2),)}
    one, other = leaves(ours(tf_bridge.to_tensors(x))), leaves(theirs(torch_bridge.to_tensors(x)))
    for tf_leaf, torch_leaf in zip(one, other, strict=True):
        np.testing.assert_allclose(tf_leaf, torch_leaf, rtol=1e-6, atol=1e-6)


# --- whole modules ----------------------------------------------------------------------------

MASKED = spaces.Dict(
    {
        "action_mask": spaces.MultiBinary(5),
        "image": spaces.Box(0, 255, (9, 8, 3), np.uint8),
        "x": spaces.Box(-1, 1, (2,)),
    }
)


def masked_batch(state: dict[str, Any]) -> dict[str, Any]:
    """Rows, or sequences where there is a state."""
    leading, rng = (3, 4) if state else (12,), np.random.default_rng(0)
    obs = {
        "action_mask": rng.random((*leading, 5)) < 0.5,
        "image": rng.integers(0, 256, (*leading, 9, 8, 3)).astype(np.uint8),
        "x": vectors(*leading, 2),
    }
    if not state:
        return {"obs": obs}
    given = map_nest(lambda part: vectors(3, *part.shape), state)
    flags = {"is_first": rng.random((3, 4)) < 0.3, "mask": rng.random((3, 4)) < 0.8}
    return {"obs": obs, "state_in": given, **flags}


@pytest.mark.parametrize("cell", [{}, {"use_lstm": True}, {"use_gru": True, "vf_share_layers": True}])
def test_default_modules_with_masks_memory_and_normalisation_agree(cell: dict[str, Any]) -> None:
    model = {"fcnet_hiddens": (8,), "initializer": "xavier_uniform", "normalize_observations": True}
    config = RLModuleConfig(
        observation_space=MASKED,
        action_space=spaces.MultiDiscrete([2, 3]),
        model_config_dict={**model, **cell},
        catalog_class=PPOCatalog,
    )
    ours, theirs = TfActorCriticModule(config), TorchActorCriticModule(config)
    theirs.set_state(ours.get_state())
    batch = masked_batch(ours.get_initial_state())
    for module in (ours, theirs):
        module.update_normalizer(batch["obs"])

    one = ours.forward_train(tf_bridge.to_tensors(batch))
    other = theirs.forward_train(torch_bridge.to_tensors(batch))

    np.testing.assert_allclose(one["vf_preds"], other["vf_preds"].detach(), rtol=1e-5, atol=1e-5)
    tf_logits, torch_logits = one["action_dist"].inputs.numpy(), other["action_dist"].inputs.detach().numpy()
    np.testing.assert_allclose(tf_logits, torch_logits, rtol=1e-5, atol=1e-5)
    assert (tf_logits[~batch["obs"]["action_mask"]] == -(2.0**64)).all()
    after = [leaves(out.get("state_out", {})) for out in (one, other)]
    assert bool(after[0]) == bool(cell)
    for tf_part, torch_part in zip(*after, strict=True):
        np.testing.assert_allclose(tf_part, torch_part.detach(), rtol=1e-5, atol=1e-5)
