"""Choices, one or several side by side, and the masks that forbid some."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import tensorflow as tf

from rlmodule_core import NumpyCategorical, NumpyMultiCategorical
from rlmodule_core.distribution_numbers import forbidding_logits, logits_of, lowest_logp, padding_index
from rlmodule_core.parametric_distribution import require_inputs
from rlmodule_tf.arrays import as_array
from rlmodule_tf.distributions.base import TfParametric, _flattened, _require_shape, _reshaped, _value_shape
from rlmodule_tf.distributions.deterministic import TfDeterministic


def mask_logits(logits: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return logits that forbid what `mask` does not allow; both are `[*batch, n]`.

    A forbidden class has a logit of -2^64 (in half precision -1.1e4), so that the result alone gives the
    same distribution again: it is never drawn and never the mode, its log-probability and sums of such are
    finite, and what is allowed keeps its proportions.
    A row that allows nothing is for the caller to refuse, as sampling loops do: a compiled graph cannot, and
    to look would make a device wait. By `logp` all of its classes are equally likely, but the first is drawn.
    Raises ValueError unless both have one shape.
    """
    if not logits.shape.is_compatible_with(mask.shape):
        raise ValueError(
            f"mask_logits: expected a mask of shape {list(logits.shape)}, got {list(mask.shape)}"
        )
    forbidden, least = forbidding_logits(float(logits.dtype.min))
    # also a logit of -inf stays above what is forbidden
    return tf.where(tf.cast(mask, tf.bool), tf.maximum(logits, least), tf.cast(forbidden, logits.dtype))


class TfCategorical(TfParametric):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    kind = "Categorical"

    def __init__(
        self, inputs: tf.Tensor | None = None, *more: Never, start: int = 0, logits: tf.Tensor | None = None
    ) -> None:
        given = logits_of(type(self), inputs, logits)
        if more or not isinstance(given, tf.Tensor):
            self._require_alone(given, more)
        self.inputs = given
        self.start = start

    def settings(self) -> dict[str, Any]:
        """Return the first class."""
        return {"start": self.start}

    def to_numpy(self) -> NumpyCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyCategorical(as_array(self.inputs), start=self.start)

    def sample(self) -> tf.Tensor:
        """Draw int64 values, `[*batch]`."""
        # The smallest E_i / p_i, with E_i exponential, is i with probability p_i. E is kept off 0, so
        # that not even a class of probability 0 wins; half precision would be too coarse.
        inputs = self.inputs if self.inputs.dtype == tf.float64 else tf.cast(self.inputs, tf.float32)
        uniform = tf.random.uniform(tf.shape(inputs), minval=1e-30, dtype=inputs.dtype)
        noise = tf.math.log(tf.maximum(-tf.math.log(uniform), 1e-30))
        return tf.argmin(noise - inputs, axis=-1, output_type=tf.int64) + self.start

    def rsample(self) -> tf.Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TfCategorical has no reparametrised sample; use sample()")

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`. Raises ValueError for a value of another shape, or of floats."""
        _require_shape(value, self.inputs.shape[:-1], self)
        if value.dtype.is_floating:
            raise self._no_class(value.dtype.name)
        index = tf.cast(value, tf.int64) - self.start
        logp: tf.Tensor = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=index, logits=self.inputs)
        return logp

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`; a class of probability 0 adds 0."""
        logp = self._log_softmax()
        return -tf.reduce_sum(tf.exp(logp) * _finite(logp), axis=-1)

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`; huge, not inf, where only `other` has probability 0."""
        self._require_kin(other)
        logp = self._log_softmax()
        return tf.reduce_sum(tf.exp(logp) * (_finite(logp) - _finite(other._log_softmax())), axis=-1)

    def to_deterministic(self) -> TfDeterministic:
        """Return the class of the largest logit, the first of equals."""
        return TfDeterministic(tf.argmax(self.inputs, axis=-1, output_type=tf.int64) + self.start)

    def _log_softmax(self) -> tf.Tensor:
        logp: tf.Tensor = tf.nn.log_softmax(self.inputs, axis=-1)
        return logp


class TfMultiCategorical(TfParametric):
    """Independent categoricals; inputs `[*batch, sum(sizes)]`, values int64 `[*batch, *event]`.

    Component i has the values `start_i .. start_i + sizes_i - 1`; one beyond has probability 0.
    """

    kind = "MultiCategorical"

    def __init__(
        self,
        inputs: tf.Tensor,
        *more: Never,
        sizes: tuple[int, ...],
        start: tuple[int, ...] | None = None,
        event_shape: tuple[int, ...] | None = None,
    ) -> None:
        if more or not isinstance(inputs, tf.Tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        require_inputs(type(self), inputs, sum(sizes))
        self.sizes = sizes
        self.start = (0,) * len(sizes) if start is None else start
        self.event_shape = (len(sizes),) if event_shape is None else event_shape

    def settings(self) -> dict[str, Any]:
        """Return sizes and first values of the components, and the shape of a value."""
        return {"sizes": self.sizes, "start": self.start, "event_shape": self.event_shape}

    def to_numpy(self) -> NumpyMultiCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyMultiCategorical(as_array(self.inputs), **self.settings())

    @property
    def components(self) -> TfCategorical:
        """The categoricals side by side, `[*batch, k, max(sizes)]`; padding has probability 0."""
        flat = self.inputs
        if len(set(self.sizes)) > 1:
            one = tf.concat([tf.shape(flat)[:-1], [1]], axis=0)
            never = tf.fill(one, tf.constant(-math.inf, flat.dtype))
            flat = tf.gather(tf.concat([flat, never], axis=-1), padding_index(self.sizes), axis=-1)
        return TfCategorical(_reshaped(flat, (len(self.sizes), max(self.sizes))))

    def sample(self) -> tf.Tensor:
        """Draw int64 values, `[*batch, *event]`."""
        return self._shaped(self.components.sample())

    def rsample(self) -> tf.Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TfMultiCategorical has no reparametrised sample; use sample()")

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`, summed over the components. ValueError for another shape, or for floats."""
        _require_shape(value, _value_shape(self.inputs, self.event_shape), self)
        if value.dtype.is_floating:
            raise self._no_class(value.dtype.name)
        index = _flattened(tf.cast(value, tf.int64), self.event_shape)
        index -= tf.constant(self.start, tf.int64)
        return tf.reduce_sum(self.components.logp(index), axis=-1)

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`, summed over the components."""
        return tf.reduce_sum(self.components.entropy(), axis=-1)

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`, summed over the components."""
        self._require_kin(other)
        return tf.reduce_sum(self.components.kl(other.components), axis=-1)

    def to_deterministic(self) -> TfDeterministic:
        """Return the most likely value of each component."""
        return TfDeterministic(self._shaped(tf.argmax(self.components.inputs, axis=-1, output_type=tf.int64)))

    def _shaped(self, flat: tf.Tensor) -> tf.Tensor:
        return _reshaped(flat + tf.constant(self.start, tf.int64), self.event_shape)


def _finite(logp: tf.Tensor) -> tf.Tensor:
    """Replace -inf by a number low enough, so that 0 * logp is 0 in value and in gradient."""
    return tf.maximum(logp, lowest_logp(logp.dtype.max))
