"""Encoders and heads. Weights are `[outputs, inputs]`; their names are the same in every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DenseLayer,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NumpyLayers,
)
from rlmodule_core.initializers import current_generator, initial_weights
from rlmodule_core.nest import Nest

Activation = Callable[[tf.Tensor], tf.Tensor]
NORM_EPSILON = 1e-5  # added to the variance by every layer norm
MANY_WEIGHTS = 2**18  # a CPU first lays out what is right in a product, which for these takes longer than it
_STRING = tf.string


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
    """Base of the layers here: none of them by itself computes anything else in training than in use."""

    mode_free = True

    def initial_state(self) -> dict[str, Any]:
        """Return the state that an episode starts from, NumPy arrays without batch axis; `{}`: no memory."""
        return {}


class _Linear(TfLayer):
    """`x W^T + b`."""

    def __init__(self, weight: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.weight = parameter(weight)
        self.bias = tf.Variable(tf.zeros([len(weight)]), name="bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return _affine(x, self.weight, self.bias)


class _Norm(TfLayer):
    """`(x - mean) / deviation * weight + bias`, with the moments over the given axes."""

    def __init__(self, size: int, axes: Sequence[int] = (-1,)) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones([size]), name="weight")
        self.bias = tf.Variable(tf.zeros([size]), name="bias")
        self._axes = tuple(axes)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, self._axes, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, self.bias, self.weight, NORM_EPSILON)


class TfMLPEncoder(TfLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: dense layers, each with its norm and its activation."""

    def __init__(self, config: MLPEncoderConfig) -> None:
        super().__init__()
        settings: dict[str, Any] = {"gain": config.gain, "initializer": config.initializer}
        sizes = [config.input_dim, *config.hidden]
        self.layers = [dense(*ends, **settings) for ends in pairwise(sizes)]
        self.norms = [_Norm(size) for size in config.hidden] if config.layer_norm else []
        self.activation_name = config.activation
        self._activation = ACTIVATIONS[config.activation]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Encode a batch; numbers of any kind are taken as the kind of the weights."""
        x = _cast(x, self.layers[0].weight.dtype if self.layers else tf.float32)
        if self.norms:
            for layer, norm in zip(self.layers, self.norms, strict=True):
                x = self._activation(norm(layer(x)))
            return x
        for layer in self.layers:
            x = self._activation(layer(x))
        return x

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights; None where that cannot be."""
        if type(self).__call__ is not TfMLPEncoder.__call__ or self.norms:
            return None
        return numpy_layers(self.layers, [self.activation_name] * len(self.layers))


class TfActorCriticEncoder(TfLayer):
    """Called with an observation, returns (features of the actor, features of the critic).

    Encoders with a memory, which have an `initial_state`, are called with a state too, and then the
    state behind the last step comes third.
    """

    def __init__(self, config: ActorCriticEncoderConfig) -> None:
        super().__init__()
        self.actor: Any = config.base.build("tf")
        # None: the actor's features serve both
        self.critic: Any = None if config.shared else config.base.build("tf")

    def initial_state(self) -> dict[str, Any]:
        """Return `{"actor": state, "critic": state}` of those with a memory; NumPy, no batch axis."""
        states = {name: initial_state(part) for name, part in self._parts().items()}
        return {name: state for name, state in states.items() if state}

    def __call__(
        self,
        obs: Nest,
        state: Nest = None,
        mask: tf.Tensor | None = None,
        is_first: tf.Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Encode for both; a shared encoder runs once. For `mask` and `is_first` see the recurrent one."""
        if not state:
            features = self.actor(obs)
            return features, features if self.critic is None else self.critic(obs)
        found, after = {}, {}
        for name, part in self._parts().items():
            if name in state:
                found[name], after[name] = part(obs, state[name], mask, is_first)
            else:
                found[name] = part(obs)
        return found["actor"], found.get("critic", found["actor"]), after

    def actor_features(self, obs: Nest) -> tf.Tensor:
        """Encode for the actor alone, as acting without a memory needs no value."""
        features: tf.Tensor = self.actor(obs)
        return features

    def _parts(self) -> dict[str, Any]:
        return {"actor": self.actor} if self.critic is None else {"actor": self.actor, "critic": self.critic}


class TfMLPHead(TfLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: hidden layers with the activation, a linear one last."""

    def __init__(self, config: MLPHeadConfig) -> None:
        super().__init__()
        name, sizes = config.initializer, [config.input_dim, *config.hidden]
        hidden = [dense(*ends, gain=math.sqrt(2.0), initializer=name) for ends in pairwise(sizes)]
        last = dense(sizes[-1], config.output_dim, gain=config.gain, initializer=name)
        self.layers = [*hidden, last]
        self.activation_name = config.activation
        self._activation = ACTIVATIONS[config.activation]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Map features to outputs; features of any kind are taken as the kind of the weights."""
        x = _cast(x, self.layers[-1].weight.dtype)
        for layer in self.layers[:-1]:
            x = self._activation(layer(x))
        return self.layers[-1](x)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights; None where that cannot be."""
        if type(self).__call__ is not TfMLPHead.__call__:
            return None
        hidden = len(self.layers) - 1
        return numpy_layers(self.layers, [self.activation_name] * hidden + ["linear"])


class TfFreeLogStdHead(TfLayer):
    """Means from the features; the log-std is a vector of weights that no input changes."""

    def __init__(self, config: FreeLogStdHeadConfig) -> None:
        super().__init__()
        self.mean = TfMLPHead(config.mean)
        self.log_std = tf.Variable(tf.zeros([config.output_dim // 2]), name="log_std")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return `[mean, log_std]`, `[..., output_dim]`."""
        mean = self.mean(x)
        return tf.concat([mean, tf.broadcast_to(self.log_std, tf.shape(mean))], axis=-1)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over copies of these weights; None where that cannot be."""
        if type(self).__call__ is not TfFreeLogStdHead.__call__:
            return None
        layers = self.mean.numpy_layers()
        return layers and layers.with_constant(self.log_std.numpy())


def _affine(x: tf.Tensor, weight: tf.Variable, bias: tf.Variable) -> tf.Tensor:
    """Return `x W^T + b`, `[..., outputs]`, as one product; TensorFlow would make one for each row."""
    rows = x if x.shape.rank == 2 else tf.reshape(x, [-1, x.shape[-1]])
    if weight.shape.num_elements() < MANY_WEIGHTS:
        y = tf.matmul(rows, weight, transpose_b=True)
    else:
        y = tf.transpose(tf.matmul(weight, rows, transpose_b=True))
    y = tf.nn.bias_add(y, bias)
    if x.shape.rank == 2:
        return y
    y = tf.reshape(y, tf.concat([tf.shape(x)[:-1], tf.shape(bias)], axis=0))
    shaped: tf.Tensor = tf.ensure_shape(y, [*x.shape[:-1], bias.shape[0]])
    return shaped


def _cast(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return numbers in a dtype. Raises ValueError for strings, where TensorFlow's error is of its inside."""
    if x.dtype is _STRING:
        raise ValueError(
            f"expected a tensor of numbers, got one of strings, {list(x.shape)}: turn them into numbers "
            "before they get here, by tf.strings.to_number or tf.keras.layers.StringLookup, say"
        )
    return tf.cast(x, dtype)


def _flat(x: tf.Tensor, axes: int, size: int) -> tf.Tensor:
    """Return a tensor with its last axes, which hold `size` numbers, as one; what is static stays so."""
    leading = x.shape.rank - axes
    if leading == 1:
        return tf.reshape(x, [-1, size])
    flat = tf.reshape(x, tf.concat([tf.shape(x)[:leading], [size]], axis=0))
    shaped: tf.Tensor = tf.ensure_shape(flat, [*x.shape[:leading], size])
    return shaped


def initial_state(layer: Any) -> dict[str, Any]:
    """Return the state that a layer starts from, `{}` for one without a memory."""
    make = getattr(layer, "initial_state", None)
    return {} if make is None else make()


def generator() -> np.random.Generator:
    """Return what initial weights are drawn from; TensorFlow's seed decides unless one was given."""
    rng = current_generator()
    if rng is not None:
        return rng
    return np.random.default_rng(int(tf.random.uniform([], maxval=2**62, dtype=tf.int64)))


def parameter(array: np.ndarray[Any, Any]) -> tf.Variable:
    """Return an array as a variable of float32."""
    return tf.Variable(tf.convert_to_tensor(array, tf.float32))


def dense(inputs: int, outputs: int, *, gain: float, initializer: str = "orthogonal") -> _Linear:
    """Make a linear layer with weights by the name of an initializer and zero biases."""
    return _Linear(initial_weights(initializer, generator(), (outputs, inputs), gain=gain))


def numpy_layers(layers: Sequence[tf.Module], activations: Sequence[str]) -> NumpyLayers | None:
    """Return NumPy layers over copies of the weights of linear ones, or None where that cannot be."""
    found = []
    for layer, activation in zip(layers, activations, strict=True):
        if type(layer) is not _Linear or layer.weight.dtype != tf.float32:
            return None
        found.append(DenseLayer(layer.weight.numpy(), layer.bias.numpy(), activation))
    return NumpyLayers(tuple(found))
