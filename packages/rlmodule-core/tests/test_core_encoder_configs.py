"""Configs of encoders: their sizes, held against counting by hand, without any framework."""

from __future__ import annotations

import itertools
import math
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pytest

from rlmodule_core import (
    ActorCriticEncoderConfig,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NestedDict,
    NormalizerConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
)
from rlmodule_core.encoder_configs import leaf_at
from rlmodule_core.model_config import output_dim

ONE_HOT = OneHotEncoderConfig(shape=(2,), sizes=(2, 3), start=(0, 5))


def windows(size: int, kernel: int, stride: int) -> int:
    """Slide a window over a line, one step after the other, and count where it fits."""
    return sum(1 for left in range(0, size, stride) if left + kernel <= size)


LINES = list(itertools.product(range(1, 14), range(1, 7), range(1, 5)))  # size, kernel, stride


@pytest.mark.parametrize(("size", "kernel", "stride"), LINES)
def test_a_valid_convolution_has_as_many_outputs_as_windows_fit(size: int, kernel: int, stride: int) -> None:
    layer = ConvLayer(channels=1, kernel=(kernel, 1), stride=(stride, 1), padding="valid")
    turned = ConvLayer(channels=1, kernel=(1, kernel), stride=(1, stride), padding="valid")

    if kernel <= size:
        assert layer.output_size((size, 9)) == (windows(size, kernel, stride), 9)
        assert turned.output_size((9, size)) == (9, windows(size, kernel, stride))
    assert layer.pads((size, 9)) == ((0, 0), (0, 0))


@pytest.mark.parametrize(("size", "kernel", "stride"), LINES)
def test_padding_same_is_the_least_that_gives_the_size_over_the_stride(
    size: int, kernel: int, stride: int
) -> None:
    layer = ConvLayer(channels=1, kernel=(kernel, 1), stride=(stride, 1))
    turned = ConvLayer(channels=1, kernel=(1, kernel), stride=(1, stride))
    expected = math.ceil(size / stride)
    (above, below), sides = layer.pads((size, 9))

    assert layer.output_size((size, 9)) == (expected, 9)
    assert windows(size + above + below, kernel, stride) == expected
    if above + below:
        assert windows(size + above + below - 1, kernel, stride) < expected
    assert below - above in (0, 1)
    assert sides == (0, 0)
    assert turned.pads((9, size)) == ((0, 0), (above, below))
    assert turned.output_size((9, size)) == (9, expected)


NATURE = (
    ConvLayer(channels=16, kernel=(8, 8), stride=(4, 4)),
    ConvLayer(channels=32, kernel=(4, 4), stride=(2, 2)),
    ConvLayer(channels=8, kernel=(3, 5), padding="valid"),
)


def test_the_maps_of_a_cnn_follow_from_layer_to_layer() -> None:
    config = CNNEncoderConfig(image=(84, 60, 3), layers=NATURE)

    assert config.map_sizes == ((84, 60), (21, 15), (11, 8), (9, 4))
    assert config.flat_dim == config.output_dim == 9 * 4 * 8
    dense = CNNEncoderConfig(image=(84, 60, 3), layers=NATURE, hidden=(64, 7))
    assert (dense.flat_dim, dense.output_dim) == (9 * 4 * 8, 7)


def test_a_cnn_without_layers_is_the_image() -> None:
    assert CNNEncoderConfig(image=(4, 5, 3), layers=()).output_dim == 60


@pytest.mark.parametrize(("kernel", "fits"), [((5, 6), True), ((6, 6), False), ((5, 7), False)])
def test_a_valid_layer_must_fit_its_map(kernel: tuple[int, int], fits: bool) -> None:
    layers = (
        ConvLayer(channels=4, kernel=(2, 2), stride=(2, 2)),
        ConvLayer(channels=4, kernel=kernel, padding="valid"),
    )
    if fits:
        assert CNNEncoderConfig(image=(10, 12, 1), layers=layers).map_sizes[-1] == (1, 1)
        return
    with pytest.raises(ValueError, match="CNNEncoderConfig") as caught:
        CNNEncoderConfig(image=(10, 12, 1), layers=layers)
    assert str(caught.value) == (
        f"CNNEncoderConfig: layers[1]: its kernel {kernel[0]}x{kernel[1]} does not fit the map that it gets "
        "(10x12 -> 5x6); take a smaller one, or padding 'same'"
    )


def test_a_same_layer_fits_every_map() -> None:
    wide = ConvLayer(channels=4, kernel=(9, 9))
    assert CNNEncoderConfig(image=(2, 3, 1), layers=(wide,)).output_dim == 2 * 3 * 4


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (FlattenEncoderConfig(shape=()), 1),
        (FlattenEncoderConfig(shape=(2, 3, 4)), 24),
        (OneHotEncoderConfig(shape=(), sizes=(7,), start=(1,)), 7),
        (ONE_HOT, 5),
        (EmbeddingEncoderConfig(shape=(2,), sizes=(20, 30), start=(0, 5), dim=8), 16),
        (MLPEncoderConfig(input_dim=3, hidden=()), 3),
        (MLPEncoderConfig(input_dim=3, hidden=(8, 9)), 9),
        (RecurrentEncoderConfig(base=MLPEncoderConfig(input_dim=3, hidden=()), hidden_dim=6), 6),
        (MLPHeadConfig(input_dim=3, output_dim=2), 2),
        (FreeLogStdHeadConfig(input_dim=3, output_dim=4), 4),
        (ComplexEncoderConfig(leaves=((("a",), ONE_HOT), (("b", 0), FlattenEncoderConfig(shape=(3,))))), 8),
        (
            ComplexEncoderConfig(leaves=(((), ONE_HOT),), fusion=MLPEncoderConfig(input_dim=5, hidden=(2,))),
            2,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_size_of_what_a_config_gives(config: Any, size: int) -> None:
    assert output_dim(config) == config.output_dim == size


def test_the_joined_leaves_are_what_the_fusion_gets() -> None:
    config = ComplexEncoderConfig(
        leaves=(((), ONE_HOT), ((1,), FlattenEncoderConfig(shape=(3,)))),
        fusion=MLPEncoderConfig(input_dim=8, hidden=(2,)),
    )
    assert config.joined_dim == 8


def test_a_config_that_does_not_say_its_size_is_told_to() -> None:
    @dataclass(frozen=True)
    class Mine:
        output_dim: Any = None

        def build(self, framework: str) -> Any:
            raise AssertionError("never built")

    nameless = ActorCriticEncoderConfig(base=ONE_HOT)
    for config in (Mine(), nameless):
        with pytest.raises(ValueError, match=f"{type(config).__name__} has no output_dim, .* add an int"):
            output_dim(config)
    with pytest.raises(ValueError, match="Mine has no output_dim"):
        ComplexEncoderConfig(leaves=(((), Mine()),)).joined_dim  # noqa: B018  # the property is what raises


@pytest.mark.parametrize(("cell", "names"), [("lstm", ["h", "c"]), ("gru", ["h"])])
def test_the_first_state_is_zeros_for_each_unit(cell: Any, names: list[str]) -> None:
    state = RecurrentEncoderConfig(base=ONE_HOT, cell=cell, hidden_dim=6).initial_state()

    assert list(state) == names
    for array in state.values():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.zeros(6))


@pytest.mark.parametrize("config", [ONE_HOT, NATURE[0], NormalizerConfig(leaves=(((), (3,)),))])
def test_configs_are_frozen_data_that_can_be_compared_and_hashed(config: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        config.shape = ()
    assert {config: 1}[type(config)(**vars(config))] == 1


@pytest.mark.parametrize(
    ("obs", "path", "leaf"),
    [
        (3, (), 3),
        ({"arm": {"b": (1, 2)}}, ("arm", "b", 1), 2),
        (({"a": 1}, 2), (0, "a"), 1),
        (NestedDict({"arm": {"b": 4}}), ("arm", "b"), 4),
    ],
)
def test_a_leaf_is_found_by_its_path(obs: Any, path: Any, leaf: Any) -> None:
    assert leaf_at(obs, path) == leaf


@pytest.mark.parametrize(
    "config",
    [
        ONE_HOT,
        MLPHeadConfig(input_dim=3, output_dim=2),
        NormalizerConfig(leaves=()),
        ActorCriticEncoderConfig(base=ONE_HOT),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_framework_that_is_not_there_is_named_when_layers_are_asked_for(config: Any) -> None:
    with pytest.raises(ImportError, match="rlmodule_nowhere, which is not there"):
        config.build("nowhere")
