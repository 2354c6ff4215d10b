"""Convolutions against a literal loop; layouts, zeros around a map, and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from rlmodule_core import CNNEncoderConfig, ConvLayer, initial_weights_from
from rlmodule_core.encoder_configs import Pair
from rlmodule_core.nest import leaves
from rlmodule_tf._variables import _held_by
from rlmodule_tf.bridge import to_numpy, to_tensors

Array = npt.NDArray[Any]


def build(config: Any, seed: int = 0) -> Any:
    with initial_weights_from(seed):
        return config.build("tf")


def call(layer: Any, *nests: Any) -> Any:
    """Arrays in, arrays out; None stays."""
    return to_numpy(layer(*tensors(nests)))


def tensors(nests: Sequence[Any]) -> list[Any]:
    return [None if nest is None else to_tensors(nest) for nest in nests]


def weights(layer: tf.Module) -> dict[str, Array]:
    return {held.name: held.state.numpy() for held in _held_by(layer)}


def gradients(layer: Any, *nests: Any) -> dict[str, Array]:
    """Of all outputs, each with a weight of its own."""
    known = {held.name: held.variable for held in _held_by(layer) if held.learns}
    with tf.GradientTape() as tape:
        outs = leaves(layer(*tensors(nests)))
        weighted = [tf.reshape(out, [-1]) * np.linspace(-1.0, 2.0, int(tf.size(out))) for out in outs]
        total = tf.add_n([tf.reduce_sum(part) for part in weighted])
    found = zip(known, tape.gradient(total, list(known.values())), strict=True)
    return {name: np.asarray(tf.convert_to_tensor(part)) for name, part in found if part is not None}


CASES = [
    pytest.param((ConvLayer(channels=4, kernel=(3, 3)),), id="same"),
    pytest.param((ConvLayer(channels=4, kernel=(4, 4), stride=(2, 2)),), id="more zeros behind than before"),
    pytest.param((ConvLayer(channels=4, kernel=(2, 3), stride=(1, 2)),), id="sides differ"),
    pytest.param((ConvLayer(channels=4, kernel=(3, 2), stride=(2, 3), padding="valid"),), id="valid"),
    pytest.param(
        (
            ConvLayer(channels=4, kernel=(3, 3), stride=(2, 2)),
            ConvLayer(channels=5, kernel=(2, 2), padding="valid"),
        ),
        id="two layers",
    ),
]


def config(layers: tuple[ConvLayer, ...], **settings: Any) -> CNNEncoderConfig:
    return CNNEncoderConfig(image=(7, 6, 3), layers=layers, **settings)


def images(*leading: int) -> Array:
    return np.random.default_rng(0).normal(size=(*leading, 7, 6, 3)).astype(np.float32)


def literal_convolution(x: Array, weight: Array, bias: Array, stride: Pair, pads: tuple[Pair, Pair]) -> Array:
    """`[height, width, inputs]` -> `[height, width, outputs]`, one number after the other."""
    x = np.pad(x, (*pads, (0, 0)))
    _, _, *kernel = weight.shape
    height, width = ((x.shape[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
    out = np.zeros((height, width, len(weight)))
    for i, j, channel in np.ndindex(out.shape):
        top, left = i * stride[0], j * stride[1]
        patch = x[top : top + kernel[0], left : left + kernel[1]]
        out[i, j, channel] = (patch.transpose(2, 0, 1) * weight[channel]).sum() + bias[channel]
    return out


def literal_encoder(cnn: CNNEncoderConfig, weight: dict[str, Array], x: Array) -> Array:
    for index, layer in enumerate(cnn.layers):
        kernel, bias = weight[f"convs.{index}.weight"], weight[f"convs.{index}.bias"]
        x = literal_convolution(x, kernel, bias, layer.stride, layer.pads(x.shape[:2]))
        if cnn.layer_norm:
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
            x = x * weight[f"norms.{index}.weight"] + weight[f"norms.{index}.bias"]
        x = np.maximum(x, 0.0)
    x = x.ravel()  # row by row, channels last
    for index in range(len(cnn.hidden)):
        x = np.maximum(weight[f"dense.{index}.weight"] @ x + weight[f"dense.{index}.bias"], 0.0)
    return x


def shaken(encoder: Any) -> Any:
    """Biases and norms that are not 0 and 1."""
    rng = np.random.default_rng(1)
    for variable in encoder.trainable_variables:
        variable.assign_add(rng.normal(scale=0.1, size=variable.shape))
    return encoder


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("layers", CASES)
def test_it_computes_what_the_formula_says(layers: tuple[ConvLayer, ...], layer_norm: bool) -> None:
    cnn = config(layers, layer_norm=layer_norm, hidden=(6,))
    encoder, x = shaken(build(cnn)), images(2)

    actual = call(encoder, x)

    expected = [literal_encoder(cnn, weights(encoder), image) for image in x]
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", CASES)
def test_leading_axes_come_out_as_they_went_in_and_images_do_not_mix(layers: tuple[ConvLayer, ...]) -> None:
    cnn = config(layers)
    encoder, x = build(cnn), images(2, 3)

    flat = call(encoder, x.reshape(6, 7, 6, 3))

    assert flat.shape == (6, cnn.output_dim)
    np.testing.assert_allclose(call(encoder, x), flat.reshape(2, 3, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(call(encoder, x[0, 0]), flat[0], rtol=1e-5, atol=1e-6)


def test_channels_that_stand_first_give_the_same_features() -> None:
    layers = (ConvLayer(channels=4, kernel=(3, 4), stride=(1, 2)),)
    first, last = build(config(layers, channels_first=True)), build(config(layers))

    np.testing.assert_allclose(
        call(first, images(2, 3).transpose(0, 1, 4, 2, 3)), call(last, images(2, 3)), rtol=1e-5, atol=1e-6
    )


def test_bytes_are_scaled_and_the_observation_stays_as_it_was() -> None:
    cnn = config((ConvLayer(channels=4, kernel=(3, 3)),))
    scaled, plain = build(replace(cnn, scale=1 / 255)), build(cnn)
    x = np.random.default_rng(0).integers(0, 256, (2, 7, 6, 3)).astype(np.uint8)
    floats = x.astype(np.float32)

    np.testing.assert_allclose(call(scaled, x), call(plain, floats / 255), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(call(scaled, floats), call(scaled, x))
    np.testing.assert_array_equal(floats, x)


def test_an_image_without_any_layer_is_flattened() -> None:
    np.testing.assert_array_equal(call(build(config(())), images(2)), images(2).reshape(2, -1))


def test_every_weight_gets_a_gradient() -> None:
    layers = (ConvLayer(channels=4, kernel=(3, 3)), ConvLayer(channels=4, kernel=(3, 3), stride=(2, 2)))
    cnn = config(layers, layer_norm=True, hidden=(5,), activation="tanh")

    found = gradients(build(cnn), images(3))

    assert set(found) == {
        f"{layer}.{kind}"
        for layer in ("convs.0", "convs.1", "norms.0", "norms.1", "dense.0")
        for kind in ("weight", "bias")
    }
    assert all(gradient.any() for gradient in found.values())


def test_kernels_start_orthogonal_with_their_gain_or_as_their_initializer_says() -> None:
    cnn = config((ConvLayer(channels=4, kernel=(3, 3)),), gain=2.0)
    kernel = weights(build(cnn))["convs.0.weight"].reshape(4, -1)

    np.testing.assert_allclose(kernel @ kernel.T, 4.0 * np.eye(4), atol=1e-5)
    uniform = weights(build(replace(cnn, initializer="kaiming_uniform", gain=1.0)))["convs.0.weight"]
    assert np.abs(uniform).max() <= np.sqrt(3.0 / 27)
    assert uniform.shape == (4, 3, 3, 3)
