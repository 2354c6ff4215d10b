"""Independent bits."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import numpy as np

from rlmodule_core.numpy_distributions.base import Array, NumpyDistribution, log_sigmoid
from rlmodule_core.numpy_distributions.deterministic import NumpyDeterministic
from rlmodule_core.parametric_distribution import require_inputs


class NumpyBernoulli(NumpyDistribution):
    """`p(1) = sigmoid(inputs)`; inputs are logits `[*batch, n]`, values int8 `[*batch, *event]`."""

    kind = "Bernoulli"

    def __init__(self, inputs: Array, *more: Never, event_shape: tuple[int, ...] | None = None) -> None:
        if more or not isinstance(inputs, np.ndarray):
            self._require_alone(inputs, more)
        self.inputs = inputs
        if event_shape is not None:
            require_inputs(type(self), inputs, math.prod(event_shape))
        self.event_shape = (inputs.shape[-1],) if event_shape is None else event_shape

    def settings(self) -> dict[str, Any]:
        """Return the shape of a value."""
        return {"event_shape": self.event_shape}

    def _sample(self, rng: np.random.Generator) -> Array:
        return self._shaped(rng.random(self.inputs.shape) < np.exp(log_sigmoid(self.inputs)))

    def logp(self, value: Array) -> Array:
        """Return `[*batch]`, summed over the bits. ValueError for a value of another shape."""
        shape = (*self.inputs.shape[:-1], *self.event_shape)
        if np.shape(value) != shape:
            raise self._misfit(shape, np.shape(value))
        sign = 2.0 * np.reshape(value, self.inputs.shape).astype(self.inputs.dtype) - 1.0
        total: Array = log_sigmoid(sign * self.inputs).sum(axis=-1)
        return total

    def entropy(self) -> Array:
        """Return `[*batch]`, summed over the bits."""
        one, zero = log_sigmoid(self.inputs), log_sigmoid(-self.inputs)
        total: Array = -(np.exp(one) * one + np.exp(zero) * zero).sum(axis=-1)
        return total

    def kl(self, other: Self) -> Array:
        """Return KL(self || other), `[*batch]`, summed over the bits."""
        self._require_kin(other)
        one, zero = log_sigmoid(self.inputs), log_sigmoid(-self.inputs)
        one_q, zero_q = log_sigmoid(other.inputs), log_sigmoid(-other.inputs)
        total: Array = (np.exp(one) * (one - one_q) + np.exp(zero) * (zero - zero_q)).sum(axis=-1)
        return total

    def to_deterministic(self) -> NumpyDeterministic:
        """Return the likelier value of each bit, 0 of equals."""
        return NumpyDeterministic(self._shaped(self.inputs > 0))

    def _shaped(self, bits: Array) -> Array:
        shaped: Array = bits.astype(np.int8).reshape(*bits.shape[:-1], *self.event_shape)
        return shaped
