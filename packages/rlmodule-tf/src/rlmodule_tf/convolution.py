"""The encoder of images. Weights are known as `[outputs, inputs, height, width]`, in every framework."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import tensorflow as tf

from rlmodule_core import CNNEncoderConfig, ConvLayer
from rlmodule_core.initializers import initial_weights
from rlmodule_tf._kernels import Kernel
from rlmodule_tf.layers import ACTIVATIONS, TfLayer, _cast, _flat, _Norm, dense, generator


class TfCNNEncoder(TfLayer):
    """`[*batch, height, width, channels]` -> `[*batch, output_dim]`.

    Bytes cross to the device as bytes and are scaled there.
    """

    def __init__(self, config: CNNEncoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = [config.image[2], *(layer.channels for layer in config.layers)]
        sizes = [config.flat_dim, *config.hidden]
        self.convs = [
            _Conv(config, layer, inputs, layer.pads(size))
            for layer, inputs, size in zip(config.layers, channels, config.map_sizes, strict=False)
        ]
        # of one group: the moments are those of the whole map, scale and shift are the channel's
        self.norms = [_Norm(outputs, axes=(1, 2, 3)) for outputs in channels[1:] if config.layer_norm]
        self.dense = [
            dense(*ends, gain=config.gain, initializer=config.initializer) for ends in pairwise(sizes)
        ]
        self._activation = ACTIVATIONS[config.activation]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Encode images with any leading axes and numbers of any kind."""
        config, rank = self.config, x.shape.rank
        leading, static = tf.shape(x)[: rank - 3], x.shape[: rank - 3]
        if rank != 4:
            x = tf.reshape(x, [-1, *x.shape[-3:]])
        if config.channels_first:
            x = tf.transpose(x, [0, 2, 3, 1])
        x = _cast(x, self._dtype())
        if config.scale != 1.0:
            x = x * config.scale
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if self.norms:
                x = self.norms[index](x)
            x = self._activation(x)
        x = _flat(x, 3, config.flat_dim)
        for layer in self.dense:
            x = self._activation(layer(x))
        if rank == 4:
            return x
        x = tf.reshape(x, tf.concat([leading, [config.output_dim]], axis=0))
        features: tf.Tensor = tf.ensure_shape(x, [*static, config.output_dim])
        return features

    def _dtype(self) -> tf.DType:
        first: Any = next(iter((*self.convs, *self.dense)), None)
        return tf.float32 if first is None else first.weight.dtype


class _Conv(TfLayer):
    """With zeros put around each map by our own count."""

    def __init__(
        self, config: CNNEncoderConfig, layer: ConvLayer, inputs: int, pads: tuple[tuple[int, int], ...]
    ) -> None:
        super().__init__()
        shape = (layer.channels, inputs, *layer.kernel)
        self.weight = Kernel(initial_weights(config.initializer, generator(), shape, gain=config.gain))
        self.bias = tf.Variable(tf.zeros([layer.channels]))
        self._stride = layer.stride
        self._pads = pads

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        explicit = [[0, 0], *map(list, self._pads), [0, 0]]
        padding: Any = explicit if any(map(any, self._pads)) else "VALID"
        return tf.nn.bias_add(tf.nn.conv2d(x, self.weight.variable, list(self._stride), padding), self.bias)
