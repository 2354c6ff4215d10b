"""The distribution that is always the same."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import numpy as np

from rlmodule_core.nest import Nest, map_nest
from rlmodule_core.numpy_distributions.base import Array, NumpyDistribution
from rlmodule_core.parametric_distribution import require_inputs


class NumpyDeterministic(NumpyDistribution):
    """Always `inputs`: the value itself, or a nest of values; flat if it is given an event shape."""

    kind = "Deterministic"

    def __init__(self, inputs: Nest, *more: Never, event_shape: tuple[int, ...] | None = None) -> None:
        if more or not isinstance(inputs, np.ndarray):
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

    def _sample(self, rng: np.random.Generator) -> Nest:
        return map_nest(self._shaped, self.inputs)

    def _shaped(self, flat: Array) -> Array:
        return flat if self.event_shape is None else flat.reshape(*flat.shape[:-1], *self.event_shape)

    def logp(self, value: Array) -> Array:
        """A point mass has no log-density to train with."""
        raise NotImplementedError("a deterministic policy has no log-probability")

    def entropy(self) -> Array:
        """A point mass has no entropy to train with."""
        raise NotImplementedError("a deterministic policy has no entropy")

    def kl(self, other: Self) -> Array:
        """A point mass has no divergence to train with."""
        raise NotImplementedError("a deterministic policy has no KL divergence")

    def to_deterministic(self) -> Self:
        """Return itself."""
        return self
