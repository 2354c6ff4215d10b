"""Encoders and heads. Weights are `[outputs, inputs]`; their names are the same in every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from rlmodule_core import DenseLayer, NumpyLayers
from rlmodule_core.initializers import current_generator, orthogonal

Activation = Callable[[tf.Tensor], tf.Tensor]


def linear(x: tf.Tensor) -> tf.Tensor:
    """Return the argument; a function with a name, so that layers can be pickled."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "elu": tf.nn.elu,
    "gelu": tf.nn.gelu,
    "leaky_relu": partial(tf.nn.leaky_relu, alpha=0.01),
    "linear": linear,
    "relu": tf.nn.relu,
    "sigmoid": tf.sigmoid,
    "silu": tf.nn.silu,
    "tanh": tf.tanh,
}


class TfLayer(tf.Module):
    """Base of the layers below: none of them computes anything else in training than in use."""

    mode_free = True


class _Linear(TfLayer):
    """`x W^T + b`."""

    def __init__(self, inputs: int, outputs: int, *, gain: float, rng: np.random.Generator) -> None:
        super().__init__()
        weight = tf.convert_to_tensor(orthogonal(rng, outputs, inputs, gain=gain))
        self.weight = tf.Variable(weight, name="weight")
        self.bias = tf.Variable(tf.zeros([outputs]), name="bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.matmul(x, self.weight, transpose_b=True) + self.bias


class TfMLPEncoder(TfLayer):
    """`[..., input_dim]` -> `[..., hidden[-1]]`, every layer followed by the activation."""

    def __init__(self, input_dim: int, hidden: Sequence[int], activation: str, gain: float) -> None:
        super().__init__()
        sizes = [input_dim, *hidden]
        self.layers = [dense(inputs, outputs, gain=gain) for inputs, outputs in pairwise(sizes)]
        self.activation_name = activation
        self._activation = ACTIVATIONS[activation]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Encode a batch; numbers of any kind are taken as the kind of the weights."""
        x = tf.cast(x, self.layers[0].weight.dtype if self.layers else tf.float32)
        for layer in self.layers:
            x = self._activation(layer(x))
        return x

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights."""
        if type(self).__call__ is not TfMLPEncoder.__call__:
            return None
        return numpy_layers(self.layers, [self.activation_name] * len(self.layers))


class TfActorCriticEncoder(TfLayer):
    """Called with an observation, returns (features of the actor, features of the critic)."""

    def __init__(self, actor: Callable[[Any], tf.Tensor], critic: Callable[[Any], tf.Tensor] | None) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic  # None: the actor's features serve both

    def __call__(self, obs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encode for both; a shared encoder runs once."""
        features = self.actor(obs)
        return features, features if self.critic is None else self.critic(obs)

    def actor_features(self, obs: tf.Tensor) -> tf.Tensor:
        """Encode for the actor alone, as acting needs no value."""
        return self.actor(obs)


class TfMLPHead(TfLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: hidden layers with the activation, a linear one last."""

    def __init__(
        self, input_dim: int, output_dim: int, hidden: Sequence[int], activation: str, gain: float
    ) -> None:
        super().__init__()
        sizes = [input_dim, *hidden]
        layers = [dense(inputs, outputs, gain=math.sqrt(2.0)) for inputs, outputs in pairwise(sizes)]
        self.layers = [*layers, dense(sizes[-1], output_dim, gain=gain)]
        self.activation_name = activation
        self._activation = ACTIVATIONS[activation]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Map features to outputs."""
        for layer in self.layers[:-1]:
            x = self._activation(layer(x))
        return self.layers[-1](x)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights."""
        if type(self).__call__ is not TfMLPHead.__call__:
            return None
        hidden = len(self.layers) - 1
        return numpy_layers(self.layers, [self.activation_name] * hidden + ["linear"])


class TfFreeLogStdHead(TfLayer):
    """Means from the features; the log-std is a vector of weights that no input changes."""

    def __init__(
        self, input_dim: int, output_dim: int, hidden: Sequence[int], activation: str, gain: float
    ) -> None:
        super().__init__()
        self.mean = TfMLPHead(input_dim, output_dim // 2, hidden, activation, gain)
        self.log_std = tf.Variable(tf.zeros([output_dim // 2]), name="log_std")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return `[mean, log_std]`, `[..., output_dim]`."""
        mean = self.mean(x)
        return tf.concat([mean, tf.broadcast_to(self.log_std, tf.shape(mean))], axis=-1)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights."""
        if type(self).__call__ is not TfFreeLogStdHead.__call__:
            return None
        layers = self.mean.numpy_layers()
        return layers and layers.with_constant(self.log_std.numpy())


def dense(inputs: int, outputs: int, *, gain: float) -> _Linear:
    """Make a linear layer with orthogonal weights and zero biases."""
    rng = current_generator()
    if rng is None:  # then the user's tf.random.set_seed decides
        rng = np.random.default_rng(int(tf.random.uniform([], maxval=2**62, dtype=tf.int64)))
    return _Linear(inputs, outputs, gain=gain, rng=rng)


def numpy_layers(layers: Sequence[tf.Module], activations: Sequence[str]) -> NumpyLayers | None:
    """Return NumPy layers over copies of the weights of linear ones, or None where that cannot be."""
    found = []
    for layer, activation in zip(layers, activations, strict=True):
        if type(layer) is not _Linear or layer.weight.dtype != tf.float32:
            return None
        found.append(DenseLayer(layer.weight.numpy(), layer.bias.numpy(), activation))
    return NumpyLayers(tuple(found))
