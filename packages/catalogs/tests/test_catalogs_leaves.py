"""One leaf of an observation and the encoder that it gets."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog, ModelSettings, leaf_encoder_config, model_settings
from rlmodule_catalogs.leaf_encoders import is_image
from rlmodule_catalogs.observation_leaves import observation_leaves
from rlmodule_core import (
    CNNEncoderConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    OneHotEncoderConfig,
    UnsupportedSpaceError,
)

TWO = spaces.Discrete(2)


class OwnSpace(gym.Space[Any]):
    """A kind of space that a user made."""


def box(*shape: int, dtype: Any = np.float32) -> spaces.Box:
    return spaces.Box(0, 1, shape, dtype=dtype)


def leaf(space: Any, **settings: Any) -> Any:
    return leaf_encoder_config(("here",), space, ModelSettings(**settings))


@pytest.mark.parametrize(
    "shape", [(), (1,), (7,), (3, 4), (84, 84), (4, 4, 3), (9, 4, 9), (3, 4, 9), (2, 3, 4, 5)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.bool_])
def test_a_box_of_numbers_that_is_no_image_is_flattened_as_it_is(shape: tuple[int, ...], dtype: Any) -> None:
    assert leaf(box(*shape, dtype=dtype)) == FlattenEncoderConfig(shape=shape, scale=1.0)


@pytest.mark.parametrize("shape", [(), (7,), (84, 84), (4, 4, 3), (5, 5, 5, 5)])
def test_bytes_are_scaled_to_1(shape: tuple[int, ...]) -> None:
    assert leaf(box(*shape, dtype=np.uint8)) == FlattenEncoderConfig(shape=shape, scale=1.0 / 255.0)


def test_bounds_do_not_matter() -> None:
    assert leaf(spaces.Box(-np.inf, np.inf, (2, 3))) == FlattenEncoderConfig(shape=(2, 3))


@pytest.mark.parametrize(
    ("shape", "image", "channels_first"),
    [
        ((84, 84, 4), (84, 84, 4), False),
        ((5, 5, 1), (5, 5, 1), False),
        ((8, 8, 111), (8, 8, 111), False),  # chess, as PettingZoo shows it
        ((9, 6, 40), (9, 6, 40), False),
        ((5, 5, 5), (5, 5, 5), False),
        ((4, 84, 96), (84, 96, 4), True),
        ((1, 5, 5), (5, 5, 1), True),
        ((8, 84, 84), (84, 84, 8), True),
        ((5, 6, 40), (6, 40, 5), True),
    ],
)
def test_an_image_has_two_sides_of_5_or_more_and_channels_first_only_if_fewest(
    shape: tuple[int, ...], image: tuple[int, ...], channels_first: bool
) -> None:
    config = leaf(box(*shape))

    assert isinstance(config, CNNEncoderConfig)
    assert is_image(box(*shape))
    assert (config.image, config.channels_first) == (image, channels_first)
    assert all(type(size) is int for size in config.image)
    assert config.output_dim == 256


@pytest.mark.parametrize(
    "shape", [(4, 4, 4), (9, 4, 3), (4, 9, 4), (4, 4, 9), (0, 9, 9), (9, 9, 0), (9, 9), (9,) * 4]
)
def test_other_boxes_are_no_images(shape: tuple[int, ...]) -> None:
    assert not is_image(box(*shape))


@pytest.mark.parametrize(
    "space", [TWO, spaces.MultiBinary((9, 9, 3)), spaces.MultiDiscrete(np.full((9, 9, 3), 2))]
)
def test_only_a_box_is_an_image(space: Any) -> None:
    assert not is_image(space)
    assert not isinstance(leaf(space), CNNEncoderConfig)


def test_the_settings_of_an_image() -> None:
    bytes_ = box(64, 64, 3, dtype=np.uint8)
    config = leaf(bytes_, conv_activation="elu", conv_layer_norm=True, initializer="xavier_normal")

    assert (config.activation, config.layer_norm, config.initializer) == ("elu", True, "xavier_normal")
    assert config.scale == 1.0 / 255.0
    assert leaf(box(64, 64, 3)).scale == 1.0
    assert leaf(bytes_).hidden == ()
    assert leaf(bytes_).gain == pytest.approx(2**0.5)


def test_a_latent_layer_belongs_to_an_image_that_is_the_whole_observation() -> None:
    settings = ModelSettings(encoder_latent_dim=32)

    assert leaf_encoder_config((), box(64, 64, 3), settings).hidden == (32,)  # type: ignore[attr-defined]
    assert leaf(box(64, 64, 3), encoder_latent_dim=32).hidden == ()


def test_filters_of_ones_own_replace_the_default_and_must_fit() -> None:
    settings = model_settings({"conv_filters": [[8, 3, 2], [9, [10, 20], 1]]})
    fitting = leaf_encoder_config(("here",), box(20, 40, 3), settings)

    assert isinstance(fitting, CNNEncoderConfig)
    assert fitting.layers == settings.conv_filters
    wide = model_settings({"conv_filters": [[8, 3, 2], [9, [11, 20], 1]]})
    with pytest.raises(ValueError, match=r"space\.arm\[1\]: conv_filters\[1\]: .* \(20x39 -> 10x20\)"):
        leaf_encoder_config(("arm", 1), box(20, 39, 3), wide)


def test_classes_are_one_hot_with_their_start() -> None:
    assert leaf(spaces.Discrete(5, start=-2)) == OneHotEncoderConfig(shape=(), sizes=(5,), start=(-2,))
    assert leaf(spaces.Discrete(np.int64(5))) == OneHotEncoderConfig(shape=(), sizes=(5,), start=(0,))
    assert leaf(spaces.MultiDiscrete([2, 3])) == OneHotEncoderConfig(shape=(2,), sizes=(2, 3), start=(0, 0))
    grid = spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]), start=np.array([[0, 1], [-1, 7]]))
    assert leaf(grid) == OneHotEncoderConfig(shape=(2, 2), sizes=(2, 3, 4, 5), start=(0, 1, -1, 7))


def test_sizes_are_pythons_integers_which_every_framework_takes() -> None:
    given: list[Any] = [spaces.Discrete(np.int64(5)), spaces.MultiDiscrete([2, 3])]
    for config in map(leaf, given):
        assert {type(size) for size in config.sizes + config.start} == {int}


def test_bits_are_flattened() -> None:
    assert leaf(spaces.MultiBinary(3)) == FlattenEncoderConfig(shape=(3,))
    assert leaf(spaces.MultiBinary([2, 3])) == FlattenEncoderConfig(shape=(2, 3))


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (spaces.Discrete(8), OneHotEncoderConfig),
        (spaces.Discrete(9, start=4), EmbeddingEncoderConfig),
        (spaces.MultiDiscrete([8, 8]), OneHotEncoderConfig),
        (spaces.MultiDiscrete([2, 9]), EmbeddingEncoderConfig),
    ],
)
def test_more_classes_than_the_embeddings_size_are_embedded(space: Any, kind: type) -> None:
    config, plain = leaf(space, embedding_dim=8), leaf(space)

    assert {type(plain), type(config)} == {OneHotEncoderConfig, kind}
    assert (config.shape, config.sizes, config.start) == (plain.shape, plain.sizes, plain.start)
    assert getattr(config, "dim", 8) == 8


EMPTY: list[Any] = [box(0), box(2, 0), box(9, 9, 0), spaces.MultiDiscrete([])]
OTHERS: list[Any] = [
    spaces.Text(3),
    spaces.Graph(TWO, None),
    spaces.Sequence(TWO),
    spaces.OneOf([TWO]),
    OwnSpace((3,), np.float32),
    None,
]


@pytest.mark.parametrize("space", [*EMPTY, *OTHERS], ids=str)
def test_an_empty_leaf_or_one_of_another_kind_is_refused_with_its_path_and_what_to_do(space: Any) -> None:
    with pytest.raises(UnsupportedSpaceError) as caught:
        leaf_encoder_config(("arm", 1, "text"), space, ModelSettings())
    assert str(caught.value) == (
        f"observation space.arm[1].text: {space} is not supported. Known are: Box, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict (with keys of type str) and Tuple of these, nested to any depth; none may be "
        "empty. Override Catalog.get_leaf_encoder_config to bring an encoder of your own, or wrap the "
        "environment."
    )
    nested = spaces.Tuple([spaces.Dict({"a": OTHERS[0] if space is None else space})])
    with pytest.raises(UnsupportedSpaceError, match=r"observation space\[0\]\.a: "):
        Catalog(nested, TWO, {}).get_encoder_config()
    with pytest.raises(UnsupportedSpaceError, match=r"observation space: "):
        Catalog(space, TWO, {}).get_encoder_config()


@pytest.mark.parametrize(
    ("space", "where"),
    [
        (spaces.Dict({}), ""),
        (spaces.Tuple([]), ""),
        (spaces.Dict({1: TWO}), ""),  # type: ignore[dict-item]
        (spaces.Dict({"a": TWO, "b": spaces.Tuple([TWO, spaces.Dict({})])}), ".b[1]"),
        (spaces.Tuple([spaces.Dict({"a": spaces.Tuple([])})]), "[0].a"),
        (spaces.Tuple([spaces.Dict([("a", TWO), (1, TWO)])]), "[0]"),  # type: ignore[list-item]
    ],
    ids=str,
)
def test_an_empty_nest_and_keys_that_are_no_words_are_refused(space: Any, where: str) -> None:
    with pytest.raises(UnsupportedSpaceError) as caught:
        Catalog(space, TWO, {}).get_encoder_config()
    assert str(caught.value).startswith(f"observation space{where}: ")
    assert "Override Catalog.get_encoder_config to bring an encoder of your own" in str(caught.value)


def test_leaves_come_in_an_order_that_the_keys_alone_decide() -> None:
    arm = spaces.Tuple([TWO] * 11)
    one = spaces.Dict([("b", TWO), ("arm", arm), ("a", TWO)])
    other = spaces.Dict([("a", TWO), ("arm", arm), ("b", TWO)])
    expected = [("a",), *(("arm", index) for index in range(11)), ("b",)]

    assert [path for path, _ in observation_leaves(one)] == expected
    assert [path for path, _ in observation_leaves(other)] == expected
