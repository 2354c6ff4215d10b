"""Convolutions by the size of an image, and those that a user wrote."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rlmodule_catalogs import ModelSettings, default_conv_layers, model_settings
from rlmodule_catalogs.conv_filters import FILTERS, conv_layers, require_fit
from rlmodule_core import CNNEncoderConfig, ConvLayer
from rlmodule_core.encoder_configs import Pair

BIG = [(480, 640), (640, 480), (1080, 1920), (5, 2000), (2000, 5), (4000, 4000), (49, 1000), (320, 240)]


def maps(size: Pair, layers: tuple[ConvLayer, ...]) -> list[Pair]:
    """Every layer must fit, which the config checks."""
    return list(CNNEncoderConfig(image=(*size, 3), layers=layers).map_sizes)


def weights(layers: tuple[ConvLayer, ...], channels: int) -> int:
    total = 0
    for layer in layers:
        total += math.prod(layer.kernel) * channels * layer.channels + layer.channels
        channels = layer.channels
    return total


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((10, 10), [(5, 5), (1, 1)]),
        ((42, 42), [(21, 21), (11, 11), (1, 1)]),
        ((64, 64), [(32, 32), (16, 16), (8, 8), (3, 3)]),
        ((84, 84), [(21, 21), (11, 11), (1, 1)]),
        ((96, 96), [(24, 24), (12, 12), (1, 1)]),
        ((240, 320), [(35, 36), (9, 9), (1, 1)]),
        ((480, 640), [(35, 36), (9, 9), (1, 1)]),
    ],
)
def test_the_table_ends_in_a_small_map(size: Pair, expected: list[Pair]) -> None:
    layers = default_conv_layers(size)

    assert maps(size, layers) == [size, *expected]
    assert [layer.padding for layer in layers] == ["same"] * (len(layers) - 1) + ["valid"]
    assert size in FILTERS


def test_the_table_is_rllibs() -> None:
    nature = default_conv_layers((84, 84))
    assert [(layer.channels, layer.kernel, layer.stride) for layer in nature] == [
        (16, (8, 8), (4, 4)),
        (32, (4, 4), (2, 2)),
        (256, (11, 11), (1, 1)),
    ]
    wide = default_conv_layers((480, 640))
    assert [(layer.channels, layer.kernel, layer.stride) for layer in wide] == [
        (16, (24, 32), (14, 18)),
        (32, (6, 6), (4, 4)),
        (256, (9, 9), (1, 1)),
    ]
    assert len(FILTERS) == 7


@pytest.mark.parametrize("height", range(5, 101))
def test_every_size_from_5_to_100_ends_in_one_place_with_few_weights(height: int) -> None:
    for width in range(5, 101):
        size = (height, width)
        layers = default_conv_layers(size)

        if size != (64, 64):
            assert maps(size, layers)[-1] == (1, 1), size
        assert len(layers) >= 2, size
        assert weights(layers, channels=4) < 1_100_000, size


@pytest.mark.parametrize("size", BIG)
def test_big_and_narrow_images_end_in_one_place_too(size: Pair) -> None:
    layers = default_conv_layers(size)

    assert maps(size, layers)[-1] == (1, 1)
    assert weights(layers, channels=4) < 1_500_000


def test_the_rule_by_hand() -> None:
    # 100 -> 25 -> 13 -> 7 -> 4; 30 -> 15 -> 8 -> 4 -> 4
    assert default_conv_layers((100, 30)) == (
        ConvLayer(channels=16, kernel=(8, 4), stride=(4, 2)),
        ConvLayer(channels=32, kernel=(4, 4), stride=(2, 2)),
        ConvLayer(channels=64, kernel=(4, 4), stride=(2, 2)),
        ConvLayer(channels=64, kernel=(4, 3), stride=(2, 1)),
        ConvLayer(channels=256, kernel=(4, 4), padding="valid"),
    )
    assert default_conv_layers((5, 6)) == (
        ConvLayer(channels=16, kernel=(3, 3)),
        ConvLayer(channels=256, kernel=(5, 6), padding="valid"),
    )
    assert default_conv_layers((48, 49))[0].kernel == (4, 8)
    assert default_conv_layers((6, 7))[0].stride == (1, 2)


def test_the_last_filter_is_valid_and_the_others_same_unless_it_is_said() -> None:
    silent = conv_layers([[8, 3, 1], [8, 3, 1], [8, 3, 1]])
    said = conv_layers([[8, 3, 1, "valid"], [8, 3, 1, "same"], [8, 3, 1, "same"]])

    assert [layer.padding for layer in silent] == ["same", "same", "valid"]
    assert [layer.padding for layer in said] == ["valid", "same", "same"]


def test_a_pair_is_height_then_width() -> None:
    (layer,) = conv_layers([[8, [3, 4], (1, 2)]])
    assert layer == ConvLayer(channels=8, kernel=(3, 4), stride=(1, 2), padding="valid")


@pytest.mark.parametrize(
    "entry",
    [
        [16, 8],
        [16, 8, 4, "same", 1],
        [0, 8, 4],
        [16, 0, 4],
        [16, 8, -4],
        [16.0, 8, 4],
        [True, 8, 4],
        [16, [8], 4],
        [16, [8, 8, 8], 4],
        [16, [8, 0], 4],
        [16, 8, None],
        [16, 8, 4, "full"],
        [16, 8, 4, None],
        [16, 8, 4, []],
        16,
        "16",
        None,
    ],
)
def test_a_bad_filter_is_refused_by_its_number(entry: Any) -> None:
    with pytest.raises(
        ValueError, match=r"model_config_dict: conv_filters\[1\]: expected \[channels, kernel, "
    ):
        model_settings({"conv_filters": [[16, 8, 4], entry]})


def test_all_bad_filters_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"conv_filters\[0\]: .*; conv_filters\[2\]: "):
        model_settings({"conv_filters": [[0, 8, 4], [16, 8, 4], [16]]})


def test_a_filter_that_does_not_fit_is_named_with_all_map_sizes() -> None:
    layers = model_settings({"conv_filters": [[16, 8, 4], [32, 4, 2], [256, 11, 1]]}).conv_filters
    assert layers is not None

    require_fit(layers, (84, 84), where="here")
    with pytest.raises(ValueError, match="model_config_dict") as caught:
        require_fit(layers, (84, 64), where="here")

    assert str(caught.value) == (
        "model_config_dict: here: conv_filters[2]: its kernel 11x11 does not fit the map that it gets "
        "(84x64 -> 21x16 -> 11x8); take a smaller one, or padding 'same', the fourth entry of a filter"
    )


@pytest.mark.parametrize(("kernel", "fits"), [((5, 6), True), ((6, 6), False), ((5, 7), False)])
def test_a_kernel_fits_up_to_the_size_of_its_map(kernel: Pair, fits: bool) -> None:
    layers = (ConvLayer(channels=8, kernel=kernel, padding="valid"),)
    if fits:
        require_fit(layers, (5, 6), where="here")
    else:
        with pytest.raises(ValueError, match=r"conv_filters\[0\]: its kernel"):
            require_fit(layers, (5, 6), where="here")
    same = (ConvLayer(channels=8, kernel=kernel, padding="same"),)
    require_fit(same, (5, 6), where="here")


def test_the_default_is_to_go_by_the_size() -> None:
    assert ModelSettings().conv_filters is None
