"""The encoder of images. Weights are `[outputs, inputs, height, width]`, the same in every framework."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from rlmodule_core import CNNEncoderConfig, ConvLayer
from rlmodule_core.initializers import initial_weights
from rlmodule_torch.layers import ACTIVATIONS, NORM_EPSILON, TorchLayer, dense, generator, parameter


class TorchCNNEncoder(TorchLayer):
    """`[*batch, height, width, channels]` -> `[*batch, output_dim]`.

    Images stay in the memory of channels last: an observation is so already, and the maps are flat
    without a copy. Bytes cross to the device as bytes and are scaled there.
    """

    def __init__(self, config: CNNEncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.image[2], *(layer.channels for layer in config.layers)]
        sizes = [config.flat_dim, *config.hidden]
        self.convs = nn.ModuleList(
            _conv(config, layer, inputs, layer.pads(size))
            for layer, inputs, size in zip(config.layers, channels, config.map_sizes, strict=False)
        )
        normed = channels[1:] if config.layer_norm else []
        self.norms = nn.ModuleList(_MapNorm(1, outputs, eps=NORM_EPSILON) for outputs in normed)
        self.dense = nn.ModuleList(
            dense(*ends, gain=config.gain, initializer=config.initializer) for ends in pairwise(sizes)
        )
        self._activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Encode images with any leading axes and numbers of any kind."""
        config, batch = self.config, x.shape[:-3]
        x = x.reshape(-1, *x.shape[-3:])
        if not config.channels_first:
            x = x.permute(0, 3, 1, 2)
        x = x.to(self._dtype(), memory_format=torch.channels_last)
        if config.scale != 1.0:
            x = x * config.scale
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if self.norms:
                x = self.norms[index](x)
            x = self._activation(x)
        x = x.permute(0, 2, 3, 1).reshape(*batch, config.flat_dim)
        for layer in self.dense:
            x = self._activation(layer(x))
        return x

    def _dtype(self) -> torch.dtype:
        for part in (*self.convs, *self.dense):
            dtype: torch.dtype = part.weight.dtype
            return dtype
        return torch.get_default_dtype()


class _MapNorm(nn.GroupNorm):
    """Of one group: the moments are those of the whole map, scale and shift are the channel's."""

    mode_free = True


class _PaddedConv(nn.Conv2d):
    """With as many zeros before as behind wherever it can be so; else they are put there first."""

    mode_free = True
    zeros: list[int] | None = None  # left, right, above, below

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.zeros is None else nn.functional.pad(x, self.zeros))


def _conv(
    config: CNNEncoderConfig, layer: ConvLayer, inputs: int, pads: tuple[tuple[int, int], tuple[int, int]]
) -> nn.Conv2d:
    (above, below), (left, right) = pads
    even = above == below and left == right
    # on "meta" it draws nothing
    conv = _PaddedConv(
        inputs,
        layer.channels,
        layer.kernel,
        layer.stride,
        padding=(above, left) if even else 0,
        device="meta",
    )
    if not even:
        conv.zeros = [left, right, above, below]
    shape = (layer.channels, inputs, *layer.kernel)
    conv.weight = parameter(initial_weights(config.initializer, generator(), shape, gain=config.gain))
    conv.bias = nn.Parameter(torch.zeros(layer.channels))
    return conv
