"""A whole observation and the encoder that it gets: leaves, what joins them, memory."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmodule_catalogs import Catalog, ModelSettings, encoder_config, model_settings
from rlmodule_core import (
    CNNEncoderConfig,
    ComplexEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    UnsupportedSpaceError,
)
from rlmodule_core.encoder_configs import LeafPath
from rlmodule_core.model_config import output_dim

TWO = spaces.Discrete(2)
IMAGE = spaces.Box(0, 255, (84, 84, 3), np.uint8)
ROBOT = spaces.Dict(
    {
        "camera": IMAGE,
        "arm": spaces.Tuple([spaces.Box(-1, 1, (6,)), spaces.Discrete(3)]),
        "map": spaces.Box(0, 1, (4, 5)),
    }
)


def encoder(space: Any, **given_: Any) -> Any:
    return encoder_config(space, ModelSettings(**given_))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint16])
def test_a_vector_of_numbers_goes_straight_into_the_dense_layers(dtype: Any) -> None:
    assert encoder(spaces.Box(0, 5, (3,), dtype)) == MLPEncoderConfig(
        input_dim=3, hidden=(256, 256), activation="tanh"
    )


def test_the_settings_of_the_dense_layers() -> None:
    config = encoder(
        spaces.Box(0, 5, (3,)),
        fcnet_hiddens=(8, 9),
        fcnet_activation="silu",
        fcnet_layer_norm=True,
        encoder_latent_dim=4,
        initializer="kaiming_normal",
    )
    assert config == MLPEncoderConfig(
        input_dim=3, hidden=(8, 9, 4), activation="silu", layer_norm=True, initializer="kaiming_normal"
    )
    assert config.gain == pytest.approx(math.sqrt(2.0))


def test_an_image_alone_goes_through_its_convolutions_only() -> None:
    config = encoder(IMAGE)

    assert isinstance(config, CNNEncoderConfig)
    assert config.output_dim == 256
    assert encoder(IMAGE, encoder_latent_dim=64) == replace(config, hidden=(64,))
    assert encoder(IMAGE, fcnet_hiddens=(8,)) == config


BITS: Any = np.bool_


@pytest.mark.parametrize(
    ("space", "leaf"),
    [
        (spaces.Box(-1, 1, ()), FlattenEncoderConfig(shape=())),
        (spaces.Box(-1, 1, (4, 5)), FlattenEncoderConfig(shape=(4, 5))),
        (spaces.Box(-1, 1, (4, 4, 4)), FlattenEncoderConfig(shape=(4, 4, 4))),
        (spaces.Box(-1, 1, (2, 2, 2, 2)), FlattenEncoderConfig(shape=(2, 2, 2, 2))),
        (spaces.Box(0, 255, (128,), np.uint8), FlattenEncoderConfig(shape=(128,), scale=1 / 255)),
        (spaces.Box(0, 1, (3,), BITS), FlattenEncoderConfig(shape=(3,))),
        (spaces.MultiBinary(3), FlattenEncoderConfig(shape=(3,))),
        (spaces.Discrete(16), OneHotEncoderConfig(shape=(), sizes=(16,), start=(0,))),
        (spaces.MultiDiscrete([2, 3]), OneHotEncoderConfig(shape=(2,), sizes=(2, 3), start=(0, 0))),
    ],
    ids=str,
)
def test_any_other_single_space_is_one_leaf_before_the_dense_layers(space: Any, leaf: Any) -> None:
    dense = MLPEncoderConfig(input_dim=leaf.output_dim, hidden=(256, 256, 7), activation="tanh")
    assert encoder(space, encoder_latent_dim=7) == ComplexEncoderConfig(leaves=(((), leaf),), fusion=dense)


def test_a_nested_observation_has_an_encoder_a_leaf_then_the_dense_layers() -> None:
    config = encoder(ROBOT, fcnet_hiddens=(32,), encoder_latent_dim=16, fcnet_activation="relu")

    arm, turn, camera, map_ = config.leaves
    assert arm == (("arm", 0), FlattenEncoderConfig(shape=(6,)))
    assert turn == (("arm", 1), OneHotEncoderConfig(shape=(), sizes=(3,), start=(0,)))
    assert camera == (("camera",), encoder(IMAGE))
    assert map_ == (("map",), FlattenEncoderConfig(shape=(4, 5)))
    assert config.fusion == MLPEncoderConfig(
        input_dim=6 + 3 + 256 + 20, hidden=(32, 16), activation="relu", initializer="orthogonal"
    )
    assert config.output_dim == 16


def test_the_order_of_the_keys_never_matters() -> None:
    turned = spaces.Dict(list(reversed(list(ROBOT.spaces.items()))))
    assert list(turned.spaces) != list(ROBOT.spaces)
    assert encoder(turned) == encoder(ROBOT)


def test_without_dense_layers_the_joined_leaves_are_the_features() -> None:
    config = encoder(ROBOT, fcnet_hiddens=())

    assert config.fusion is None
    assert config.output_dim == 6 + 3 + 256 + 20
    assert encoder(TWO, fcnet_hiddens=()).fusion is None


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (3,)), IMAGE, TWO, ROBOT], ids=str)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_memory_goes_over_any_encoder(space: Any, cell: Any) -> None:
    asked = {f"use_{cell}": True, "lstm_cell_size": 32, "lstm_forget_bias": 2, "burn_in": 3}
    config = encoder(space, initializer="xavier_uniform", **asked)

    assert config == RecurrentEncoderConfig(
        base=encoder(space, initializer="xavier_uniform"),
        cell=cell,
        hidden_dim=32,
        forget_bias=2.0,
        initializer="xavier_uniform",
        burn_in=3,
    )
    assert type(config.forget_bias) is float


def test_the_initializer_reaches_every_layer_that_has_weights() -> None:
    text = repr(encoder(ROBOT, initializer="kaiming_uniform", use_lstm=True))
    assert text.count("initializer='kaiming_uniform'") == text.count("initializer=") == 3


@pytest.mark.parametrize(
    "space", [spaces.Box(-1, 1, (3,)), TWO, spaces.Dict({"a": TWO}), spaces.Box(0, 1, (4, 4, 3))]
)
def test_filters_without_an_image_are_refused(space: Any) -> None:
    class LeavesOfItsOwn(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Any:
            return super().get_leaf_encoder_config(path, space)

    with pytest.raises(ValueError, match=r"conv_filters: no part of the observation is an image .* got "):
        Catalog(space, TWO, {"conv_filters": [[8, 3, 1]]})
    catalog = LeavesOfItsOwn(space, TWO, {"conv_filters": [[8, 3, 1]]})  # one of them could be an image's
    with pytest.raises(
        ValueError, match=r"conv_filters: no part of the observation is encoded as an image .* got .*; leave"
    ):
        catalog.get_encoder_config()


def test_filters_are_for_every_image_and_the_one_they_do_not_fit_is_named() -> None:
    given_ = model_settings({"conv_filters": [[8, 8, 8]]})
    fine = encoder_config(spaces.Tuple([TWO, IMAGE]), given_)
    assert isinstance(fine, ComplexEncoderConfig)
    assert fine.leaves[1][1].layers == given_.conv_filters  # type: ignore[attr-defined]

    two = spaces.Dict({"big": IMAGE, "small": spaces.Box(0, 1, (7, 7, 1))})
    with pytest.raises(ValueError, match=r"observation space\.small: conv_filters\[0\]: .*7x7"):
        encoder_config(two, given_)


# --- random nested spaces ----------------------------------------------------------------------

SIZES = st.integers(0, 9)
BOXES = st.builds(
    lambda shape, dtype: spaces.Box(0, 1, tuple(shape), dtype),
    st.lists(SIZES | st.integers(1, 9), max_size=4),
    st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.bool_]),
)
LEAVES = st.one_of(
    BOXES,
    BOXES,
    st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 40), st.integers(-3, 3)),
    st.builds(lambda n: spaces.MultiDiscrete(n), st.lists(st.integers(1, 40), min_size=1, max_size=3)),
    st.builds(lambda n: spaces.MultiBinary(n), st.lists(st.integers(1, 4), min_size=1, max_size=3)),
    st.sampled_from([spaces.Text(3), spaces.Sequence(TWO), spaces.OneOf([TWO]), spaces.Graph(TWO, None)])
    | st.builds(lambda n: spaces.Discrete(n), st.integers(1, 9)),
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.text(max_size=3), inner, max_size=4).map(lambda parts: spaces.Dict(parts)),
        st.lists(inner, max_size=4).map(lambda parts: spaces.Tuple(parts)),
    ),
    max_leaves=8,
)
ASKED = st.fixed_dictionaries(
    {
        "fcnet_hiddens": st.sampled_from([(), (8,), (16, 4)]),
        "encoder_latent_dim": st.sampled_from([None, 5]),
        "embedding_dim": st.sampled_from([None, 1, 16]),
        "use_lstm": st.booleans(),
    }
)


def leaves_of(space: Any, path: LeafPath = ()) -> dict[LeafPath, Any]:
    """The oracle: every leaf that an encoder is known for, or None under the path of what has none."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        inner = space.spaces
        children = list(inner.items()) if isinstance(inner, dict) else list(enumerate(inner))
        found: dict[LeafPath, Any] = {} if children else {path: None}
        for key, child in children:
            found |= leaves_of(child, (*path, key))
        return found
    if isinstance(space, (spaces.Text, spaces.Sequence, spaces.OneOf, spaces.Graph)):
        return {path: None}
    return {path: None if 0 in space.shape else space}


def check_leaf(space: Any, config: Any) -> None:
    """Nothing learned: as many numbers as gymnasium flattens the space to."""
    if isinstance(config, (FlattenEncoderConfig, OneHotEncoderConfig)):
        assert config.output_dim == spaces.flatdim(space)
        assert config.shape == space.shape
    assert output_dim(config) > 0


@settings(max_examples=200, deadline=None)
@given(space=NESTED, asked=ASKED)
def test_a_random_nested_space_has_an_encoder_of_exactly_its_leaves_or_the_documented_error(
    space: Any, asked: dict[str, Any]
) -> None:
    expected = leaves_of(space)
    given_ = ModelSettings(**asked)
    if None in expected.values():
        with pytest.raises(UnsupportedSpaceError, match="observation space"):
            encoder_config(space, given_)
        return

    config: Any = encoder_config(space, given_)
    assert output_dim(config) > 0
    if given_.use_lstm:
        assert isinstance(config, RecurrentEncoderConfig)
        config = config.base
    if isinstance(config, ComplexEncoderConfig):
        assert [path for path, _ in config.leaves] == sorted(expected)
        for path, leaf in config.leaves:
            check_leaf(expected[path], leaf)
    else:
        assert isinstance(config, (MLPEncoderConfig, CNNEncoderConfig))
        assert list(expected) == [()]
    last = given_.encoder_latent_dim or (given_.fcnet_hiddens[-1] if given_.fcnet_hiddens else None)
    if last is not None and not isinstance(config, CNNEncoderConfig):
        assert config.output_dim == last
