"""Choices, one or several side by side, and the masks that forbid some."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Never, Self

import numpy as np

from rlmodule_core.distribution_numbers import forbidding_logits, logits_of, lowest_logp, padding_index
from rlmodule_core.numpy_distributions.base import Array, NumpyDistribution
from rlmodule_core.numpy_distributions.deterministic import NumpyDeterministic
from rlmodule_core.parametric_distribution import require_inputs

TINY = np.finfo(np.float64).tiny


def mask_logits(logits: Array, mask: Array) -> Array:
    """Return logits that forbid what `mask` does not allow; both are `[*batch, n]`.

    A forbidden class has a logit of -2^64 (in half precision -1.1e4), so that the result alone gives the
    same distribution again: it is never drawn and never the mode, its log-probability and sums of such are
    finite, and what is allowed keeps its proportions.
    A row that allows nothing is for the caller to refuse, as sampling loops do: a compiled graph cannot, and
    to look would make a device wait. By `logp` all of its classes are equally likely, but the first is drawn.
    Raises ValueError unless both have one shape.
    """
    if logits.shape != np.shape(mask):
        raise ValueError(
            f"mask_logits: expected a mask of shape {list(logits.shape)}, got {list(np.shape(mask))}"
        )
    forbidden, least = forbidding_logits(float(np.finfo(logits.dtype).min))
    # also a logit of -inf stays above what is forbidden
    masked: Array = np.where(np.asarray(mask, np.bool_), np.maximum(logits, least), forbidden)
    return masked.astype(logits.dtype, copy=False)


class _Classes(NumpyDistribution):
    """What numbers classes."""

    def _classes(self, value: Array) -> Array:
        """Return values as int64. Raises ValueError if their dtype is of no whole numbers."""
        given = np.asarray(value)
        if given.dtype.kind not in "iub":
            raise self._no_class(given.dtype)
        return given.astype(np.int64, copy=False)


class NumpyCategorical(_Classes):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    kind = "Categorical"

    def __init__(
        self, inputs: Array | None = None, *more: Never, start: int = 0, logits: Array | None = None
    ) -> None:
        given = logits_of(type(self), inputs, logits)
        if more or not isinstance(given, np.ndarray):
            self._require_alone(given, more)
        self.inputs = given
        self.start = start

    def settings(self) -> dict[str, Any]:
        """Return the first class."""
        return {"start": self.start}

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
        """Return `[*batch]`. ValueError for a value of another shape or dtype, or below the start."""
        if np.shape(value) != self.inputs.shape[:-1]:
            raise self._misfit(self.inputs.shape[:-1], np.shape(value))
        index = self._classes(value) - self.start
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
        self._require_kin(other)
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


class NumpyMultiCategorical(_Classes):
    """Independent categoricals; inputs `[*batch, sum(sizes)]`, values int64 `[*batch, *event]`.

    Component i has the values `start_i .. start_i + sizes_i - 1`; one beyond has probability 0.
    """

    kind = "MultiCategorical"

    def __init__(
        self,
        inputs: Array,
        *more: Never,
        sizes: tuple[int, ...],
        start: tuple[int, ...] | None = None,
        event_shape: tuple[int, ...] | None = None,
    ) -> None:
        if more or not isinstance(inputs, np.ndarray):
            self._require_alone(inputs, more)
        self.inputs = inputs
        require_inputs(type(self), inputs, sum(sizes))
        self.sizes = sizes
        self.start = (0,) * len(sizes) if start is None else start
        self.event_shape = (len(sizes),) if event_shape is None else event_shape

    def settings(self) -> dict[str, Any]:
        """Return sizes and first values of the components, and the shape of a value."""
        return {"sizes": self.sizes, "start": self.start, "event_shape": self.event_shape}

    @cached_property
    def components(self) -> NumpyCategorical:
        """The categoricals side by side, `[*batch, k, max(sizes)]`; padding has probability 0."""
        flat, batch = self.inputs, self.inputs.shape[:-1]
        if len(set(self.sizes)) > 1:
            never = np.full((*batch, 1), -np.inf, flat.dtype)
            flat = np.concatenate([flat, never], axis=-1)[..., list(padding_index(self.sizes))]
        return NumpyCategorical(flat.reshape(*batch, len(self.sizes), max(self.sizes)))

    def _sample(self, rng: np.random.Generator) -> Array:
        return self._shaped(self.components.sample(rng))

    def logp(self, value: Array) -> Array:
        """Return `[*batch]`, summed over the components. ValueError for a value of another shape or dtype."""
        batch = self.inputs.shape[:-1]
        if np.shape(value) != (*batch, *self.event_shape):
            raise self._misfit((*batch, *self.event_shape), np.shape(value))
        flat = np.reshape(self._classes(value), (*batch, len(self.sizes))) - np.array(self.start)
        total: Array = self.components.logp(flat).sum(axis=-1)
        return total

    def entropy(self) -> Array:
        """Return `[*batch]`, summed over the components."""
        total: Array = self.components.entropy().sum(axis=-1)
        return total

    def kl(self, other: Self) -> Array:
        """Return KL(self || other), `[*batch]`, summed over the components."""
        self._require_kin(other)
        total: Array = self.components.kl(other.components).sum(axis=-1)
        return total

    def to_deterministic(self) -> NumpyDeterministic:
        """Return the most likely value of each component."""
        return NumpyDeterministic(self._shaped(self.components.to_deterministic().inputs))

    def _shaped(self, flat: Array) -> Array:
        if any(self.start):
            flat = flat + np.array(self.start)
        return flat.reshape(*flat.shape[:-1], *self.event_shape)


def _finite(logp: Array) -> Array:
    """Replace -inf by a number low enough, so that 0 * logp is 0."""
    finite: Array = np.maximum(logp, lowest_logp(float(np.finfo(logp.dtype).max)))
    return finite
