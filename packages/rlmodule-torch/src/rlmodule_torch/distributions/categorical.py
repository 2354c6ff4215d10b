"""Choices, one or several side by side, and the masks that forbid some."""

from __future__ import annotations

from typing import Any, Never, Self

import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import pad

from rlmodule_core import NumpyCategorical, NumpyMultiCategorical
from rlmodule_core.distribution_numbers import forbidding_logits, logits_of, lowest_logp, padding_index
from rlmodule_core.parametric_distribution import require_inputs
from rlmodule_torch.arrays import as_array
from rlmodule_torch.distributions.base import TorchDistribution, TorchParametric, _native_kl
from rlmodule_torch.distributions.deterministic import TorchDeterministic


def mask_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Return logits that forbid what `mask` does not allow; both are `[*batch, n]`.

    A forbidden class has a logit of -2^64 (in half precision -1.1e4), so that the result alone gives the
    same distribution again: it is never drawn and never the mode, its log-probability and sums of such are
    finite, and what is allowed keeps its proportions.
    A row that allows nothing is for the caller to refuse, as sampling loops do: a compiled graph cannot, and
    to look would make a device wait. By `logp` all of its classes are equally likely, but the first is drawn.
    Raises ValueError unless both have one shape.
    """
    if logits.shape != mask.shape:
        raise ValueError(
            f"mask_logits: expected a mask of shape {list(logits.shape)}, got {list(mask.shape)}"
        )
    forbidden, least = forbidding_logits(torch.finfo(logits.dtype).min)
    # also a logit of -inf stays above what is forbidden
    return torch.where(mask.bool(), logits.clamp(min=least), forbidden)


class TorchCategorical(TorchParametric):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    kind = "Categorical"

    def __init__(
        self, inputs: Tensor | None = None, *more: Never, start: int = 0, logits: Tensor | None = None
    ) -> None:
        given = logits_of(type(self), inputs, logits)
        if more or not isinstance(given, Tensor):
            self._require_alone(given, more)
        self.inputs = given
        self.start = start

    def settings(self) -> dict[str, Any]:
        """Return the first class."""
        return {"start": self.start}

    def to_numpy(self) -> NumpyCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyCategorical(as_array(self.inputs), start=self.start)

    def native_form(self) -> td.Distribution | None:
        """Return `torch.distributions.Categorical`, whose values start at 0; None if these do not."""
        return None if self.start else td.Categorical(logits=self.inputs)

    def sample(self) -> Tensor:
        """Draw int64 values, `[*batch]`."""
        # The smallest E_i / p_i, with E_i exponential, is i with probability p_i. E is kept off 0, so
        # that not even a class of probability 0 wins; half precision would be too coarse.
        inputs = self.inputs.detach()
        wide = torch.promote_types(inputs.dtype, torch.float32)
        noise = torch.empty_like(inputs, dtype=wide).exponential_()
        noise = noise.clamp_(min=torch.finfo(wide).tiny).log_()
        return (noise - inputs).argmin(dim=-1) + self.start

    def rsample(self) -> Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TorchCategorical has no reparametrised sample; use sample()")

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`. Raises ValueError for a value of another shape, or of floats."""
        if not isinstance(value, Tensor):
            raise self._no_tensor(value)
        if value.shape != self.inputs.shape[:-1]:
            raise self._misfit(self.inputs.shape[:-1], value.shape)
        if value.is_floating_point():
            raise self._no_class(value.dtype)
        index = value.long()
        if self.start:
            index = index - self.start
        return self._log_softmax().gather(-1, index.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return `[*batch]`; a class of probability 0 adds 0."""
        logp = self._log_softmax()
        return -(logp.exp() * _finite(logp)).sum(dim=-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`; huge, not inf, where only `other` has probability 0."""
        if isinstance(other, TorchDistribution) and not isinstance(other, TorchParametric):
            return _native_kl(self, other)
        self._require_kin(other)
        logp = self._log_softmax()
        return (logp.exp() * (_finite(logp) - _finite(other._log_softmax()))).sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the class of the largest logit, the first of equals."""
        return TorchDeterministic(self.inputs.argmax(dim=-1) + self.start)

    def _log_softmax(self) -> Tensor:
        return torch.log_softmax(self.inputs, dim=-1)


class TorchMultiCategorical(TorchParametric):
    """Independent categoricals; inputs `[*batch, sum(sizes)]`, values int64 `[*batch, *event]`.

    Component i has the values `start_i .. start_i + sizes_i - 1`; one beyond has probability 0.
    """

    kind = "MultiCategorical"

    def __init__(
        self,
        inputs: Tensor,
        *more: Never,
        sizes: tuple[int, ...],
        start: tuple[int, ...] | None = None,
        event_shape: tuple[int, ...] | None = None,
    ) -> None:
        if more or not isinstance(inputs, Tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        require_inputs(type(self), inputs, sum(sizes))
        self.sizes = sizes
        self.start = (0,) * len(sizes) if start is None else start
        self.event_shape = (len(sizes),) if event_shape is None else event_shape
        self._components: TorchCategorical | None = None  # made where they are asked for

    def settings(self) -> dict[str, Any]:
        """Return sizes and first values of the components, and the shape of a value."""
        return {"sizes": self.sizes, "start": self.start, "event_shape": self.event_shape}

    def to_numpy(self) -> NumpyMultiCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyMultiCategorical(as_array(self.inputs), **self.settings())

    @property  # a cached one takes a lock, which torch.compile cannot
    def components(self) -> TorchCategorical:
        """The categoricals side by side, `[*batch, k, max(sizes)]`; padding has probability 0."""
        if self._components is None:
            self._components = self._side_by_side()
        return self._components

    def _side_by_side(self) -> TorchCategorical:
        flat = self.inputs
        if len(set(self.sizes)) > 1:
            index = torch.tensor(padding_index(self.sizes), device=flat.device)
            flat = pad(flat, (0, 1), value=-torch.inf).index_select(-1, index)
        return TorchCategorical(flat.unflatten(-1, (len(self.sizes), max(self.sizes))))

    def sample(self) -> Tensor:
        """Draw int64 values, `[*batch, *event]`."""
        return self._shaped(self.components.sample())

    def rsample(self) -> Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TorchMultiCategorical has no reparametrised sample; use sample()")

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`, summed over the components. ValueError for another shape, or for floats."""
        if not isinstance(value, Tensor):
            raise self._no_tensor(value)
        batch = self.inputs.shape[:-1]
        if value.shape != (*batch, *self.event_shape):
            raise self._misfit((*batch, *self.event_shape), value.shape)
        flat = value.reshape(*batch, len(self.sizes))
        if any(self.start):
            flat = flat - torch.tensor(self.start, device=flat.device)
        return self.components.logp(flat).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Return `[*batch]`, summed over the components."""
        return self.components.entropy().sum(dim=-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`, summed over the components."""
        self._require_kin(other)
        return self.components.kl(other.components).sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the most likely value of each component."""
        return TorchDeterministic(self._shaped(self.components.inputs.argmax(dim=-1)))

    def _shaped(self, flat: Tensor) -> Tensor:
        if any(self.start):
            flat = flat + torch.tensor(self.start, device=flat.device)
        return flat.reshape(*flat.shape[:-1], *self.event_shape)


def _finite(logp: Tensor) -> Tensor:
    """Replace -inf by a number low enough, so that 0 * logp is 0 in value and in gradient."""
    return logp.clamp(min=lowest_logp(torch.finfo(logp.dtype).max))
