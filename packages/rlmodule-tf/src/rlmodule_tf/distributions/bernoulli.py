"""Independent bits."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import tensorflow as tf

from rlmodule_core import NumpyBernoulli
from rlmodule_core.parametric_distribution import require_inputs
from rlmodule_tf.arrays import as_array
from rlmodule_tf.distributions.base import TfParametric, _flattened, _require_shape, _reshaped, _value_shape
from rlmodule_tf.distributions.deterministic import TfDeterministic


class TfBernoulli(TfParametric):
    """`p(1) = sigmoid(inputs)`; inputs are logits `[*batch, n]`, values int8 `[*batch, *event]`."""

    kind = "Bernoulli"

    def __init__(self, inputs: tf.Tensor, *more: Never, event_shape: tuple[int, ...] | None = None) -> None:
        if more or not isinstance(inputs, tf.Tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        if event_shape is not None:
            require_inputs(type(self), inputs, math.prod(event_shape))
        size: Any = None if event_shape is not None else inputs.shape[-1]
        self.event_shape: tuple[int, ...] = (size,) if event_shape is None else event_shape

    def settings(self) -> dict[str, Any]:
        """Return the shape of a value."""
        return {"event_shape": self.event_shape}

    def to_numpy(self) -> NumpyBernoulli | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyBernoulli(as_array(self.inputs), event_shape=self.event_shape)

    def sample(self) -> tf.Tensor:
        """Draw int8 values, `[*batch, *event]`."""
        p = tf.sigmoid(self.inputs)
        p = p if p.dtype == tf.float64 else tf.cast(p, tf.float32)  # half precision would be too coarse
        return self._shaped(tf.random.uniform(tf.shape(p), dtype=p.dtype) < p)

    def rsample(self) -> tf.Tensor:
        """Bits have no gradient."""
        raise NotImplementedError("TfBernoulli has no reparametrised sample; use sample()")

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`, summed over the bits. ValueError for a value of another shape."""
        _require_shape(value, _value_shape(self.inputs, self.event_shape), self)
        bits = _flattened(tf.cast(value, self.inputs.dtype), self.event_shape)
        return tf.reduce_sum(tf.math.log_sigmoid((2.0 * bits - 1.0) * self.inputs), axis=-1)

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`, summed over the bits."""
        one, zero = tf.math.log_sigmoid(self.inputs), tf.math.log_sigmoid(-self.inputs)
        return -tf.reduce_sum(tf.exp(one) * one + tf.exp(zero) * zero, axis=-1)

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`, summed over the bits."""
        self._require_kin(other)
        one, zero = tf.math.log_sigmoid(self.inputs), tf.math.log_sigmoid(-self.inputs)
        one_q, zero_q = tf.math.log_sigmoid(other.inputs), tf.math.log_sigmoid(-other.inputs)
        return tf.reduce_sum(tf.exp(one) * (one - one_q) + tf.exp(zero) * (zero - zero_q), axis=-1)

    def to_deterministic(self) -> TfDeterministic:
        """Return the likelier value of each bit, 0 of equals."""
        return TfDeterministic(self._shaped(self.inputs > 0))

    def _shaped(self, bits: tf.Tensor) -> tf.Tensor:
        return _reshaped(tf.cast(bits, tf.int8), self.event_shape)
