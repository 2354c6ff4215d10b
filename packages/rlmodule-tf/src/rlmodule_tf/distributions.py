"""Action distributions over TensorFlow tensors. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

import math
from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import (
    Distribution,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyDiagGaussian,
    NumpyDistribution,
)

LOG_TWO_PI = math.log(2.0 * math.pi)


class TfDistribution(Distribution[tf.Tensor]):
    """Base of the distributions below."""


class TfCategorical(TfDistribution):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    def __init__(self, inputs: tf.Tensor, start: int = 0) -> None:
        self.inputs = inputs
        self.start = start

    @classmethod
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Discrete space, for its start."""
        return cls(inputs, int(space.start) if isinstance(space, spaces.Discrete) else 0)

    def with_inputs(self, inputs: tf.Tensor) -> Self:
        """Return a Categorical with the same start."""
        return type(self)(inputs, self.start)

    def to_numpy(self) -> NumpyCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyCategorical(self.inputs.numpy(), self.start)

    def sample(self) -> tf.Tensor:
        """Draw int64 values, `[*batch]`."""
        # The smallest E_i / p_i, with E_i exponential, is i with probability p_i; -inf is never drawn.
        dtype = self.inputs.dtype
        uniform = tf.random.uniform(tf.shape(self.inputs), minval=1e-30, dtype=dtype)
        noise = tf.math.log(-tf.math.log(uniform))
        return tf.argmin(noise - self.inputs, axis=-1, output_type=tf.int64) + self.start

    def rsample(self) -> tf.Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TfCategorical has no reparametrised sample; use sample()")

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`."""
        index = tf.cast(value, tf.int64) - self.start
        logp: tf.Tensor = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=index, logits=self.inputs)
        return logp

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`; a class of probability 0 adds 0."""
        logp = self._log_softmax()
        return -tf.reduce_sum(tf.exp(logp) * _finite(logp), axis=-1)

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`."""
        logp = self._log_softmax()
        return tf.reduce_sum(tf.exp(logp) * (_finite(logp) - _finite(other._log_softmax())), axis=-1)

    def to_deterministic(self) -> TfDeterministic:
        """Return the class of the largest logit, the first of equals."""
        return TfDeterministic(tf.argmax(self.inputs, axis=-1, output_type=tf.int64) + self.start)

    def _log_softmax(self) -> tf.Tensor:
        logp: tf.Tensor = tf.nn.log_softmax(self.inputs, axis=-1)
        return logp


class TfDiagGaussian(TfDistribution):
    """Independent normals; inputs are `[mean, log_std]`, `[*batch, 2 n]`, values `[*batch, *event]`."""

    def __init__(self, inputs: tf.Tensor, event_shape: tuple[int, ...] | None = None) -> None:
        self.inputs = inputs
        self.mean, self.log_std = tf.split(inputs, 2, axis=-1)
        size: Any = self.mean.shape[-1]  # a graph, too, knows it
        self.event_shape: tuple[int, ...] = (size,) if event_shape is None else event_shape

    @classmethod
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Box, for the shape of one value."""
        return cls(inputs, space.shape if isinstance(space, spaces.Box) else None)

    def with_inputs(self, inputs: tf.Tensor) -> Self:
        """Return a DiagGaussian over values of the same shape."""
        return type(self)(inputs, self.event_shape)

    def to_numpy(self) -> NumpyDiagGaussian | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyDiagGaussian(self.inputs.numpy(), self.event_shape)

    def sample(self) -> tf.Tensor:
        """Draw values without gradient, `[*batch, *event]`."""
        value: tf.Tensor = tf.stop_gradient(self.rsample())
        return value

    def rsample(self) -> tf.Tensor:
        """Draw values with the gradient of mean and log_std, `[*batch, *event]`."""
        noise = tf.random.normal(tf.shape(self.mean), dtype=self.mean.dtype)
        return self._unflatten(self.mean + tf.exp(self.log_std) * noise)

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`, summed over the components."""
        flat = tf.reshape(tf.cast(value, self.mean.dtype), tf.shape(self.mean))
        z = (flat - self.mean) * tf.exp(-self.log_std)
        return tf.reduce_sum(-0.5 * z * z - self.log_std - 0.5 * LOG_TWO_PI, axis=-1)

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`."""
        return tf.reduce_sum(self.log_std + 0.5 * (1.0 + LOG_TWO_PI), axis=-1)

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`."""
        gap = other.log_std - self.log_std
        distance = ((self.mean - other.mean) * tf.exp(-other.log_std)) ** 2
        return tf.reduce_sum(gap + 0.5 * (tf.exp(-2.0 * gap) + distance - 1.0), axis=-1)

    def to_deterministic(self) -> TfDeterministic:
        """Return the mean."""
        return TfDeterministic(self._unflatten(self.mean))

    def _unflatten(self, flat: tf.Tensor) -> tf.Tensor:
        if len(self.event_shape) == 1:
            return flat
        return tf.reshape(flat, tf.concat([tf.shape(flat)[:-1], self.event_shape], axis=0))


class TfDeterministic(TfDistribution):
    """Always `inputs`, which is the value itself."""

    def __init__(self, inputs: tf.Tensor) -> None:
        self.inputs = inputs

    @classmethod
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` adds nothing: the inputs are the values."""
        return cls(inputs)

    def with_inputs(self, inputs: tf.Tensor) -> Self:
        """Return the distribution that is always `inputs`."""
        return type(self)(inputs)

    def to_numpy(self) -> NumpyDistribution | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyDeterministic(self.inputs.numpy())

    def sample(self) -> tf.Tensor:
        """Return the value."""
        value: tf.Tensor = tf.stop_gradient(self.inputs)
        return value

    def rsample(self) -> tf.Tensor:
        """Return the value with its gradient."""
        return self.inputs

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """A point mass has no log-density to train with."""
        raise NotImplementedError("a deterministic policy has no log-probability")

    def entropy(self) -> tf.Tensor:
        """A point mass has no entropy to train with."""
        raise NotImplementedError("a deterministic policy has no entropy")

    def kl(self, other: Self) -> tf.Tensor:
        """A point mass has no divergence to train with."""
        raise NotImplementedError("a deterministic policy has no KL divergence")

    def to_deterministic(self) -> Self:
        """Return itself."""
        return self


@runtime_checkable
class _Native(Protocol):
    """What we ask of a foreign distribution; TensorFlow itself has none."""

    def sample(self) -> Any: ...
    def log_prob(self, value: Any) -> Any: ...
    def entropy(self) -> Any: ...


class TfNative(TfDistribution):
    """A foreign distribution behind our contract; batch shape `[*batch]` is its own.

    Its methods are `sample`, `log_prob` and `entropy`, and where they are asked for `mode` and
    `kl_divergence`, as TensorFlow Probability names them.
    """

    def __init__(self, native: Any) -> None:
        self.native = native

    @property
    def inputs(self) -> tf.Tensor:  # type: ignore[override]
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError(f"{type(self.native).__name__} has no flat parameters")

    @classmethod
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError("a native distribution is made by its own constructor")

    def sample(self) -> tf.Tensor:
        """Draw without gradient."""
        value: tf.Tensor = tf.stop_gradient(self.rsample())
        return value

    def rsample(self) -> tf.Tensor:
        """Draw with gradient, where the native distribution can."""
        value: tf.Tensor = self.native.sample()
        return value

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`."""
        logp: tf.Tensor = self.native.log_prob(value)
        return logp

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`."""
        entropy: tf.Tensor = self.native.entropy()
        return entropy

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`."""
        divergence: tf.Tensor = self._method("kl_divergence")(other.native)
        return divergence

    def to_deterministic(self) -> TfDeterministic:
        """Return the mode."""
        return TfDeterministic(self._method("mode")())

    def _method(self, name: str) -> Any:
        if not hasattr(self.native, name):
            raise NotImplementedError(f"{type(self.native).__name__} has no {name}()")
        return getattr(self.native, name)


def as_distribution(value: object) -> Distribution[tf.Tensor]:
    """Return ours as it is and a foreign one behind our contract, if it has the methods.

    Raises TypeError for anything else.
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, _Native):
        return TfNative(value)
    raise TypeError(
        f"action_dist: expected a Distribution or an object with sample, log_prob and entropy, "
        f"got {type(value).__module__}.{type(value).__qualname__}"
    )


def _finite(logp: tf.Tensor) -> tf.Tensor:
    """Replace -inf by the smallest number, so that 0 * logp is 0 in value and in gradient."""
    return tf.maximum(logp, logp.dtype.min)
