"""Convolutions for an image: a table for the usual sizes, a rule for all others, or a user's list.

Sizes and pairs are (along the height, along the width).
"""

from __future__ import annotations

from typing import Any, TypeAlias, get_args

from rlmodule_core import ConvLayer
from rlmodule_core.conv_configs import misfit
from rlmodule_core.encoder_configs import Padding, Pair

Filter: TypeAlias = tuple[int, int | Pair, int | Pair]
"""Channels, kernel, stride; an int is the same along both axes."""

SMALLEST_SIDE = 5  # an image with a shorter one is no image to us
SMALL_MAP = 6  # what the last layer takes in whole
PADDINGS: tuple[str, ...] = get_args(Padding)

# RLlib's. All are padded "same" but the last, which is "valid"; the maps behind each stand at the right.
FILTERS: dict[Pair, tuple[Filter, ...]] = {
    (10, 10): ((16, 5, 2), (32, 5, 2)),  # 5, 1
    (42, 42): ((16, 4, 2), (32, 4, 2), (256, 11, 1)),  # 21, 11, 1
    (64, 64): ((32, 4, 2), (64, 4, 2), (128, 4, 2), (256, 4, 2)),  # 32, 16, 8, 3
    (84, 84): ((16, 8, 4), (32, 4, 2), (256, 11, 1)),  # 21, 11, 1
    (96, 96): ((16, 8, 4), (32, 4, 2), (256, 11, 2)),  # 24, 12, 1
    (240, 320): ((16, (12, 16), (7, 9)), (32, 6, 4), (256, 9, 1)),  # 35x36, 9, 1
    (480, 640): ((16, (24, 32), (14, 18)), (32, 6, 4), (256, 9, 1)),  # 35x36, 9, 1
}


def default_conv_layers(size: Pair) -> tuple[ConvLayer, ...]:
    """Return the convolutions for images of a size: those of `FILTERS`, or the rule's.

    The rule: a side above 48 is divided by 4 (kernel 8), one above 6 by 2 (kernel 4), a shorter one is
    kept (kernel 3), with 16, 32, 64, 64, ... channels, until both sides are at most 6; then one "valid"
    layer of 256 channels sees the whole map.

    >>> [(layer.channels, layer.kernel, layer.stride) for layer in default_conv_layers((60, 20))]
    [(16, (8, 4), (4, 2)), (32, (4, 4), (2, 2)), (64, (4, 3), (2, 1)), (256, (4, 5), (1, 1))]
    """
    if size in FILTERS:
        return conv_layers(FILTERS[size])
    layers: list[ConvLayer] = []
    while not layers or max(size) > SMALL_MAP:
        (top, down), (left, right) = _kernel_and_stride(size[0]), _kernel_and_stride(size[1])
        layer = ConvLayer(channels=min(16 * 2 ** len(layers), 64), kernel=(top, left), stride=(down, right))
        layers.append(layer)
        size = layer.output_size(size)
    return (*layers, ConvLayer(channels=256, kernel=size, padding="valid"))


def conv_layers(filters: Any) -> tuple[ConvLayer, ...]:
    """Return filters that `conv_filter_problems` found nothing wrong with as layers.

    >>> [layer.padding for layer in conv_layers([[16, 4, 2], [32, 3, 1, "valid"], [64, 3, 1]])]
    ['same', 'valid', 'valid']
    """
    layers = []
    for index, (channels, kernel, stride, *rest) in enumerate(map(_written, filters)):
        padding: Padding = "valid" if index == len(filters) - 1 else "same"
        layer = ConvLayer(
            channels=channels,
            kernel=_pair(kernel),
            stride=_pair(stride),
            padding=rest[0] if rest else padding,
        )
        layers.append(layer)
    return tuple(layers)


def conv_filter_problems(filters: Any) -> list[str]:
    """Say what is wrong with each entry of the setting `conv_filters`; None is right.

    >>> conv_filter_problems([[16, 8, 4], [32, 0, 2]])[0].partition(":")[0]
    'conv_filters[1]'
    """
    if filters is None:
        return []
    if not isinstance(filters, (list, tuple)) or not filters:
        return [f"conv_filters: expected a list of at least one filter, or None, got {filters!r}"]
    return [
        f"conv_filters[{index}]: expected [channels, kernel, stride], with 'same' or 'valid' as fourth if "
        f"need be, kernel and stride an int or [height, width], all at least 1, got {entry!r}"
        for index, entry in enumerate(filters)
        if not _is_filter(_written(entry))
    ]


def require_fit(layers: tuple[ConvLayer, ...], size: Pair, *, where: str) -> None:
    """Raise ValueError, with the sizes of all maps up to there, at the first filter that does not fit."""
    problem = misfit(layers, size)
    if problem is not None:
        raise ValueError(f"model_config_dict: {where}: conv_filters{problem}, the fourth entry of a filter")


def _kernel_and_stride(side: int) -> Pair:
    if side > 48:
        return 8, 4
    return (4, 2) if side > SMALL_MAP else (3, 1)


def _written(entry: Any) -> Any:
    """Return a layer as the list that it would be written as, anything else as it is."""
    if isinstance(entry, ConvLayer):
        return entry.channels, entry.kernel, entry.stride, entry.padding
    return entry


def _is_filter(entry: Any) -> bool:
    if not isinstance(entry, (list, tuple)) or len(entry) not in (3, 4):
        return False
    channels, kernel, stride, *rest = entry
    fits = _is_size(channels) and _is_size_or_pair(kernel) and _is_size_or_pair(stride)
    return fits and (not rest or rest[0] in PADDINGS)


def _is_size_or_pair(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(map(_is_size, value))
    return _is_size(value)


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
