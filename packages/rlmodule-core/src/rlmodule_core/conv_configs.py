"""Configs of convolutions over images; sizes are (along the height, along the width)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from rlmodule_core import config_checks as checks
from rlmodule_core.config_checks import require_fields
from rlmodule_core.model_config import ACTIVATION, INITIALIZER, ModelConfig

Padding: TypeAlias = Literal["same", "valid"]
Pair: TypeAlias = tuple[int, int]
"""(along the height, along the width)."""

_PADDING: Final = checks.one_of(get_args(Padding))


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """One convolution; sizes are (along the height, along the width)."""

    channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = "same"

    def __post_init__(self) -> None:
        require_fields(
            self,
            channels=checks.SIZE,
            kernel=checks.PAIR,
            stride=checks.PAIR,
            padding=_PADDING,
        )

    def output_size(self, size: Pair) -> Pair:
        """Return the size of the map that this layer makes of one of `size`.

        >>> ConvLayer(channels=8, kernel=(4, 4), stride=(2, 2)).output_size((11, 10))
        (6, 5)
        """
        if self.padding == "same":
            return _ceil_div(size[0], self.stride[0]), _ceil_div(size[1], self.stride[1])
        return (
            _ceil_div(size[0] - self.kernel[0] + 1, self.stride[0]),
            _ceil_div(size[1] - self.kernel[1] + 1, self.stride[1]),
        )

    def pads(self, size: Pair) -> tuple[Pair, Pair]:
        """Return the zeros to put (above, below) and (left, right) of a map of `size`.

        "same" gives maps of `ceil(size / stride)`; of an odd number of zeros the larger half comes
        last. This is written out so that every framework computes the same.

        >>> ConvLayer(channels=8, kernel=(4, 4), stride=(2, 2)).pads((11, 10))
        ((1, 2), (1, 1))
        """
        if self.padding == "valid":
            return (0, 0), (0, 0)
        out = self.output_size(size)
        totals = [
            max((out[axis] - 1) * self.stride[axis] + self.kernel[axis] - size[axis], 0) for axis in (0, 1)
        ]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)


_LAYERS: Final = checks.tuple_of(ConvLayer)


@dataclass(frozen=True, kw_only=True)
class CNNEncoderConfig(ModelConfig):
    """`[*batch, height, width, channels]` -> convolutions -> flat, row by row, channels last -> dense layers.

    Every layer has its norm, if any, and its activation. Raises ValueError if a layer does not fit.
    """

    image: tuple[int, int, int]  # height, width, channels
    layers: tuple[ConvLayer, ...]
    channels_first: bool = False  # then the observation is [*batch, channels, height, width]
    activation: str = "relu"  # an ActivationName
    layer_norm: bool = False  # over a whole map; scale and shift for each channel
    scale: float = 1.0  # what the numbers are multiplied by: 1 / 255 for bytes
    hidden: tuple[int, ...] = ()  # of the dense layers behind the convolutions
    initializer: str = "orthogonal"  # an InitializerName
    gain: float = math.sqrt(2.0)  # of the initial weights

    def __post_init__(self) -> None:
        require_fields(
            self,
            image=checks.IMAGE,
            layers=_LAYERS,
            channels_first=checks.BOOL,
            activation=ACTIVATION,
            layer_norm=checks.BOOL,
            scale=checks.NUMBER,
            hidden=checks.SIZES,
            initializer=INITIALIZER,
            gain=checks.NUMBER,
        )
        problem = misfit(self.layers, self.image[:2])
        if problem is not None:
            raise ValueError(f"{type(self).__name__}: layers{problem}")

    @property
    def map_sizes(self) -> tuple[Pair, ...]:
        """The sizes of the maps: of the image, then behind each layer."""
        return _map_sizes(self.layers, self.image[:2])

    @property
    def flat_dim(self) -> int:
        """How many numbers the last convolution gives."""
        channels = self.layers[-1].channels if self.layers else self.image[2]
        return math.prod(self.map_sizes[-1]) * channels

    @property
    def output_dim(self) -> int:
        """The size of the last layer."""
        return self.hidden[-1] if self.hidden else self.flat_dim


def misfit(layers: Sequence[ConvLayer], size: Pair) -> str | None:
    """Say which layer is the first that does not fit an image of a size, with all maps up to there.

    >>> misfit([ConvLayer(channels=8, kernel=(9, 9), padding="valid")], (8, 8))
    "[0]: its kernel 9x9 does not fit the map that it gets (8x8); take a smaller one, or padding 'same'"
    """
    sizes = _map_sizes(layers, size)
    for index, (layer, (height, width)) in enumerate(zip(layers, sizes, strict=False)):
        if layer.padding == "valid" and (layer.kernel[0] > height or layer.kernel[1] > width):
            maps = " -> ".join(map(_text, sizes[: index + 1]))
            return (
                f"[{index}]: its kernel {_text(layer.kernel)} does not fit the map that it gets ({maps}); "
                "take a smaller one, or padding 'same'"
            )
    return None


def _map_sizes(layers: Sequence[ConvLayer], size: Pair) -> tuple[Pair, ...]:
    sizes = [size]
    for layer in layers:
        sizes.append(layer.output_size(sizes[-1]))
    return tuple(sizes)


def _text(size: Pair) -> str:
    return f"{size[0]}x{size[1]}"


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
