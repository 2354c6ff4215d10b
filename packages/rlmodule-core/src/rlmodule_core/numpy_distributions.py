"""Action distributions over NumPy arrays: what samplers draw from, and the oracle of the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_core.distribution import Distribution
from rlmodule_core.model_config import DistributionConfig

Array = npt.NDArray[Any]
LOG_TWO_PI = math.log(2.0 * math.pi)
TINY = np.finfo(np.float64).tiny


class NumpyDistribution(Distribution[Array]):
    """A distribution that draws from the generator it is given."""

    def sample(self, rng: np.random.Generator | None = None) -> Array:
        """Draw one value for each batch entry, from `rng` or from fresh entropy."""
        return self._sample(np.random.default_rng() if rng is None else rng)

    def _sample(self, rng: np.random.Generator) -> Array:
        raise NotImplementedError

    def rsample(self) -> Array:
        """NumPy has no gradients, so there is nothing to carry."""
        raise NotImplementedError("NumPy arrays carry no gradient; use sample()")

    def to_numpy(self) -> Self:
        """Return itself, with whatever a subclass overrides."""
        return self

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Leave `to_numpy` alone: what an override would be hidden by does not exist here."""


class NumpyCategorical(NumpyDistribution):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    def __init__(self, inputs: Array, start: int = 0) -> None:
        self.inputs = inputs
        self.start = start

    @classmethod
    def from_inputs(cls, inputs: Array, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Discrete space, for its start."""
        return cls(inputs, int(space.start) if isinstance(space, spaces.Discrete) else 0)

    def with_inputs(self, inputs: Array) -> Self:
        """Return a Categorical with the same start."""
        return type(self)(inputs, self.start)

    def _sample(self, rng: np.random.Generator) -> Array:
        # The smallest of E_i / p_i with E_i exponential is i with probability p_i; in logs, so that
        # logits of any size are safe. E is not 0, so that -inf is never drawn (float32 would be 0
        # once in eight million draws).
        noise = rng.standard_exponential(self.inputs.shape)
        noise += TINY
        np.log(noise, out=noise)
        noise -= self.inputs
        drawn: Array = noise.argmin(axis=-1)
        return drawn + self.start if self.start else drawn

    def logp(self, value: Array) -> Array:
        """Return `[*batch]`."""
        index = np.asarray(value, dtype=np.int64) - self.start
        if index.size and index.min() < 0:  # NumPy would count from the end
            raise ValueError(f"logp: the values start at {self.start}, got {index.min() + self.start}")
        chosen: Array = np.take_along_axis(self._log_softmax(), index[..., None], axis=-1)[..., 0]
        return chosen

    def entropy(self) -> Array:
        """Return `[*batch]`; a class of probability 0 adds 0."""
        logp = self._log_softmax()
        total: Array = -(np.exp(logp) * _finite(logp)).sum(axis=-1)
        return total

    def kl(self, other: Self) -> Array:
        """Return KL(self || other), `[*batch]`; huge, not inf, where only `other` has probability 0."""
        logp = self._log_softmax()
        total: Array = (np.exp(logp) * (_finite(logp) - _finite(other._log_softmax()))).sum(axis=-1)
        return total

    def to_deterministic(self) -> NumpyDeterministic:
        """Return the class of the largest logit, the first of equals."""
        return NumpyDeterministic(self.inputs.argmax(axis=-1) + self.start)

    def _log_softmax(self) -> Array:
        shifted = self.inputs - self.inputs.max(axis=-1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return result


class NumpyDiagGaussian(NumpyDistribution):
    """Independent normals; inputs are `[mean, log_std]`, `[*batch, 2 n]`, values `[*batch, *event]`."""

    def __init__(self, inputs: Array, event_shape: tuple[int, ...] | None = None) -> None:
        self.inputs = inputs
        self.mean, self.log_std = np.split(inputs, 2, axis=-1)
        self.event_shape = (self.mean.shape[-1],) if event_shape is None else event_shape

    @classmethod
    def from_inputs(cls, inputs: Array, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Box, for the shape of one value."""
        return cls(inputs, space.shape if isinstance(space, spaces.Box) else None)

    def with_inputs(self, inputs: Array) -> Self:
        """Return a DiagGaussian over values of the same shape."""
        return type(self)(inputs, self.event_shape)

    def _sample(self, rng: np.random.Generator) -> Array:
        noise = rng.standard_normal(self.mean.shape, dtype=np.float32)
        value = self.mean + np.exp(self.log_std) * noise
        shaped: Array = value.reshape(*value.shape[:-1], *self.event_shape)
        return shaped

    def logp(self, value: Array) -> Array:
        """Return `[*batch]`, summed over the components."""
        z = (np.reshape(value, self.mean.shape) - self.mean) / np.exp(self.log_std)
        total: Array = (-0.5 * z * z - self.log_std - 0.5 * LOG_TWO_PI).sum(axis=-1)
        return total

    def entropy(self) -> Array:
        """Return `[*batch]`."""
        total: Array = (self.log_std + 0.5 * (1.0 + LOG_TWO_PI)).sum(axis=-1)
        return total

    def kl(self, other: Self) -> Array:
        """Return KL(self || other), `[*batch]`."""
        variance_ratio = np.exp(2.0 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) / np.exp(other.log_std)) ** 2
        gap = other.log_std - self.log_std
        total: Array = (gap + 0.5 * (variance_ratio + distance - 1.0)).sum(axis=-1)
        return total

    def to_deterministic(self) -> NumpyDeterministic:
        """Return the mean."""
        return NumpyDeterministic(self.mean.reshape(*self.mean.shape[:-1], *self.event_shape))


class NumpyDeterministic(NumpyDistribution):
    """Always `inputs`, which is the value itself."""

    def __init__(self, inputs: Array) -> None:
        self.inputs = inputs

    @classmethod
    def from_inputs(cls, inputs: Array, space: gym.Space[Any] | None = None) -> Self:
        """`space` adds nothing: the inputs are the values."""
        return cls(inputs)

    def with_inputs(self, inputs: Array) -> Self:
        """Return the distribution that is always `inputs`."""
        return type(self)(inputs)

    def _sample(self, rng: np.random.Generator) -> Array:
        return self.inputs

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


def _finite(logp: Array) -> Array:
    """Replace -inf by the smallest number, so that 0 * logp is 0."""
    finite: Array = np.maximum(logp, np.finfo(logp.dtype).min)
    return finite


def numpy_distribution(config: DistributionConfig) -> Callable[[Array], NumpyDistribution]:
    """Return the function from `inputs` to the NumPy distribution that the config describes."""
    kinds: dict[str, type[NumpyDistribution]] = {
        "Categorical": NumpyCategorical,
        "DiagGaussian": NumpyDiagGaussian,
        "Deterministic": NumpyDeterministic,
    }
    return partial(kinds[config.kind].from_inputs, space=config.space)
