"""The distribution that is always the same."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import tensorflow as tf

from rlmodule_core import NumpyDeterministic, NumpyDistribution
from rlmodule_core.nest import Nest, map_nest
from rlmodule_core.parametric_distribution import require_inputs
from rlmodule_tf.arrays import as_array
from rlmodule_tf.distributions.base import TfParametric, _reshaped


class TfDeterministic(TfParametric):
    """Always `inputs`: the value itself, or a nest of values; flat if it is given an event shape."""

    kind = "Deterministic"

    def __init__(self, inputs: Nest, *more: Never, event_shape: tuple[int, ...] | None = None) -> None:
        if more or not isinstance(inputs, tf.Tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        if event_shape is not None:
            require_inputs(type(self), inputs, math.prod(event_shape))
        self.event_shape = event_shape

    def settings(self) -> dict[str, Any]:
        """Return the shape that the flat inputs take as a value, or None where they have it."""
        return {"event_shape": self.event_shape}

    def with_inputs(self, inputs: Nest) -> Self:
        """Return the distribution that is always `inputs`."""
        return type(self)(inputs, event_shape=self.event_shape)

    def to_numpy(self) -> NumpyDistribution | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyDeterministic(map_nest(as_array, self.inputs), event_shape=self.event_shape)

    def sample(self) -> Nest:
        """Return the value."""
        return map_nest(lambda flat: tf.stop_gradient(self._shaped(flat)), self.inputs)

    def rsample(self) -> Nest:
        """Return the value with its gradient."""
        return map_nest(self._shaped, self.inputs)

    def _shaped(self, flat: tf.Tensor) -> tf.Tensor:
        return flat if self.event_shape is None else _reshaped(flat, self.event_shape)

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
