"""Encoders of classes and nested observations, and running normalisation, against NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from rlmodule_core import (
    ComplexEncoderConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NestedDict,
    NormalizerConfig,
    OneHotEncoderConfig,
    initial_weights_from,
)
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


DTYPES = [np.int64, np.int8, np.uint8, np.float32, np.float64]
BOARD = OneHotEncoderConfig(shape=(2, 2), sizes=(2, 3, 1, 4), start=(0, 5, 0, 1))
TABLE = EmbeddingEncoderConfig(shape=(2,), sizes=(2, 3), start=(0, 5), dim=4)


def literal_one_hot(config: OneHotEncoderConfig, values: Array) -> list[float]:
    found = []
    for size, start, value in zip(config.sizes, config.start, values.ravel(), strict=True):
        found += [float(value == start + number) for number in range(size)]
    return found


def test_numbers_are_flattened_cast_and_scaled() -> None:
    encoder = build(FlattenEncoderConfig(shape=(2, 3), scale=0.5))
    x = np.arange(24).reshape(4, 2, 3).astype(np.uint8)

    np.testing.assert_array_equal(call(encoder, x), x.reshape(4, 6).astype(np.float32) / 2)
    assert call(encoder, x.astype(np.float64).reshape(2, 2, 2, 3)).dtype == np.float32
    one = build(FlattenEncoderConfig(shape=()))
    np.testing.assert_array_equal(call(one, np.array([3, 4])), [[3.0], [4.0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_become_one_hot_vectors_side_by_side(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (5, 3, 2, 2)).astype(dtype)  # many are no class

    actual = call(build(BOARD), x)

    expected = [[literal_one_hot(BOARD, values) for values in row] for row in x]
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == np.float32
    assert 0 < actual.sum() < 5 * 3 * 4


def test_a_single_class_needs_no_axis_of_its_own_and_starts_where_its_space_does() -> None:
    encoder = build(OneHotEncoderConfig(shape=(), sizes=(3,), start=(-1,)))

    np.testing.assert_array_equal(call(encoder, np.array([-1, 1, 2])), [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    odd = np.array([0.0, np.nan, 0.5], np.float32)
    np.testing.assert_array_equal(call(encoder, odd), [[0, 1, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_embedding_is_a_row_of_the_table_for_each_component_and_zero_for_what_is_no_class(
    dtype: Any,
) -> None:
    encoder = build(TABLE)
    table = weights(encoder)["weight"]
    x = np.random.default_rng(0).integers(0, 9, (6, 3, 2)).astype(dtype)

    actual = call(encoder, x)

    for place in np.ndindex(6, 3):
        expected = np.zeros((2, 4))
        for component, (size, start, offset) in enumerate([(2, 0, 0), (3, 5, 2)]):
            number = int(x[place][component]) - start
            if 0 <= number < size:
                expected[component] = table[offset + number]
        np.testing.assert_array_equal(actual[place], expected.ravel())
    assert table.shape == (5, 4)


def test_what_is_between_two_classes_is_none() -> None:
    odd = np.array([[0.5, np.nan], [np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(call(build(TABLE), odd), np.zeros((2, 8)))


def test_only_the_rows_that_were_looked_up_learn() -> None:
    gradient = gradients(build(TABLE), np.array([[1, 6], [1, 99]]))["weight"]

    assert gradient.any(axis=1).tolist() == [False, True, False, True, False]


def test_the_vectors_are_standard_normal_times_the_gain() -> None:
    big = EmbeddingEncoderConfig(shape=(), sizes=(500,), start=(0,), dim=40, gain=0.1)
    assert 0.097 < weights(build(big))["weight"].std() < 0.103


# --- nested observations ----------------------------------------------------------------------

NESTED = ComplexEncoderConfig(
    leaves=(
        (("b", 1), MLPEncoderConfig(input_dim=2, hidden=(3,))),
        (("a",), OneHotEncoderConfig(shape=(), sizes=(4,), start=(0,))),
    ),
    fusion=MLPEncoderConfig(input_dim=7, hidden=(5,)),
)


def nested(*leading: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    vector = rng.normal(size=(*leading, 2)).astype(np.float32)
    return {"a": rng.integers(0, 4, leading), "b": (np.zeros(leading), vector)}


def test_each_leaf_is_encoded_and_all_are_joined_in_the_order_of_the_config() -> None:
    encoder, obs = build(NESTED), nested(3)
    w = weights(encoder)
    vector = np.tanh(obs["b"][1] @ w["leaves.0.layers.0.weight"].T + w["leaves.0.layers.0.bias"])
    joined = np.concatenate([vector, np.eye(4)[obs["a"]]], axis=-1)
    expected = np.tanh(joined @ w["fusion.layers.0.weight"].T + w["fusion.layers.0.bias"])

    np.testing.assert_allclose(call(encoder, obs), expected, rtol=1e-4, atol=1e-5)
    plain = build(ComplexEncoderConfig(leaves=NESTED.leaves))
    np.testing.assert_allclose(call(plain, obs), joined, rtol=1e-4, atol=1e-5)
    assert all(part.any() for part in gradients(encoder, obs).values())


def test_the_order_of_keys_and_the_kind_of_mapping_do_not_matter() -> None:
    encoder, obs = build(NESTED), to_tensors(nested(2, 3))
    expected = to_numpy(encoder(obs))
    turned = {"unknown": None, "b": obs["b"], "a": obs["a"]}

    assert expected.shape == (2, 3, 5)
    for same in (turned, MappingProxyType(obs), NestedDict(obs), {**obs, "b": list(obs["b"])}):
        np.testing.assert_array_equal(to_numpy(encoder(same)), expected)


# --- running normalisation --------------------------------------------------------------------

LEAVES = NormalizerConfig(leaves=((("b", 1), (2,)), (("c",), (2, 2))), clip=2.0, epsilon=0.01)


def observed(rows: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    vector, square = 3.0 + 2.0 * rng.normal(size=(rows, 2)), rng.normal(size=(rows, 2, 2))
    return {"a": rng.integers(0, 4, rows), "b": (np.zeros(rows), vector), "c": square.astype(np.float32)}


def test_after_updates_the_leaves_are_normalised_by_all_that_was_seen() -> None:
    normalizer = build(LEAVES)
    parts = [observed(5), observed(7, seed=1)]
    for part in parts:
        normalizer.update(part)

    actual = call(normalizer, observed(4, seed=2))

    seen = np.concatenate([part["b"][1] for part in parts])
    x = observed(4, seed=2)["b"][1]
    expected = np.clip((x - seen.mean(axis=0)) / np.sqrt(seen.var(axis=0) + 0.01), -2.0, 2.0)
    np.testing.assert_allclose(actual["b"][1], expected, rtol=1e-5, atol=1e-5)
    assert actual["b"][1].dtype == np.float32
    assert actual["c"].shape == (4, 2, 2)
    assert weights(normalizer)["moments.0.count"] == 12
    np.testing.assert_allclose(weights(normalizer)["moments.0.mean"], seen.mean(axis=0), rtol=1e-6)


def test_leaves_that_the_config_does_not_name_are_the_very_same_objects() -> None:
    normalizer, obs = build(LEAVES), to_tensors(observed(3))
    before = {key: obs[key] for key in obs}

    out = normalizer(obs)

    assert out["a"] is obs["a"]
    assert out["b"][0] is obs["b"][0]
    assert isinstance(out["b"], tuple)
    assert all(obs[key] is before[key] for key in obs)
    frozen = normalizer(MappingProxyType(obs))
    np.testing.assert_array_equal(to_numpy(frozen["c"]), to_numpy(out["c"]))


def test_before_the_first_update_observations_are_as_they_came() -> None:
    normalizer = build(NormalizerConfig(leaves=(((), (2,)),), clip=2.0, epsilon=0.5))
    x = np.array([[[0.1, -5.0], [1.0, 7.0]]], np.float32)

    np.testing.assert_array_equal(call(normalizer, x), x)
    normalizer.update(np.full((1, 3, 2), np.nan))
    np.testing.assert_array_equal(call(normalizer, x), x)


def test_the_statistics_are_in_the_state_and_no_gradient_moves_them() -> None:
    normalizer = build(LEAVES)
    shapes = {name: (array.shape, array.dtype.name) for name, array in weights(normalizer).items()}

    assert shapes == {
        "moments.0.mean": ((2,), "float32"),
        "moments.0.var": ((2,), "float32"),
        "moments.0.count": ((), "int64"),
        "moments.1.mean": ((2, 2), "float32"),
        "moments.1.var": ((2, 2), "float32"),
        "moments.1.count": ((), "int64"),
    }
    assert not normalizer.trainable_variables


@pytest.mark.parametrize(
    "config",
    [
        MLPEncoderConfig(input_dim=4, hidden=(3,)),
        MLPHeadConfig(input_dim=4, output_dim=2),
        FlattenEncoderConfig(shape=(4,)),
        OneHotEncoderConfig(shape=(4,), sizes=(2,) * 4, start=(0,) * 4),
        EmbeddingEncoderConfig(shape=(4,), sizes=(2,) * 4, start=(0,) * 4, dim=3),
    ],
)
def test_strings_are_refused_in_words(config: Any) -> None:
    words = tf.constant([["a", "b", "c", "d"]])
    with pytest.raises(ValueError, match=r"expected a tensor of numbers, got one of strings, \[1, 4\]: turn"):
        build(config)(words)
