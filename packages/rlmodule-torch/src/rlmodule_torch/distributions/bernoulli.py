"""Independent bits."""

from __future__ import annotations

import math
from typing import Any, Never, Self

import torch
import torch.distributions as td
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlmodule_core import NumpyBernoulli
from rlmodule_core.parametric_distribution import require_inputs
from rlmodule_torch.arrays import as_array
from rlmodule_torch.distributions.base import TorchDistribution, TorchParametric, _native_kl
from rlmodule_torch.distributions.deterministic import TorchDeterministic


class TorchBernoulli(TorchParametric):
    """`p(1) = sigmoid(inputs)`; inputs are logits `[*batch, n]`, values int8 `[*batch, *event]`."""

    kind = "Bernoulli"

    def __init__(self, inputs: Tensor, *more: Never, event_shape: tuple[int, ...] | None = None) -> None:
        if more or not isinstance(inputs, Tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        if event_shape is not None:
            require_inputs(type(self), inputs, math.prod(event_shape))
        self.event_shape = (inputs.shape[-1],) if event_shape is None else event_shape

    def settings(self) -> dict[str, Any]:
        """Return the shape of a value."""
        return {"event_shape": self.event_shape}

    def to_numpy(self) -> NumpyBernoulli | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyBernoulli(as_array(self.inputs), event_shape=self.event_shape)

    def native_form(self) -> td.Distribution:
        """Return independent `torch.distributions.Bernoulli`s."""
        bits = td.Bernoulli(logits=self.inputs.reshape(*self.inputs.shape[:-1], *self.event_shape))
        return td.Independent(bits, len(self.event_shape))

    def sample(self) -> Tensor:
        """Draw int8 values, `[*batch, *event]`."""
        p = torch.sigmoid(self.inputs.detach())
        wide = torch.promote_types(p.dtype, torch.float32)  # half precision would be too coarse
        return self._shaped(torch.rand(p.shape, dtype=wide, device=p.device) < p)

    def rsample(self) -> Tensor:
        """Bits have no gradient."""
        raise NotImplementedError("TorchBernoulli has no reparametrised sample; use sample()")

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`, summed over the bits. ValueError for a value of another shape."""
        if not isinstance(value, Tensor):
            raise self._no_tensor(value)
        shape = (*self.inputs.shape[:-1], *self.event_shape)
        if value.shape != shape:
            raise self._misfit(shape, value.shape)
        sign = 2.0 * value.reshape(self.inputs.shape).to(self.inputs.dtype) - 1.0
        return logsigmoid(sign * self.inputs).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Return `[*batch]`, summed over the bits."""
        one, zero = logsigmoid(self.inputs), logsigmoid(-self.inputs)
        return -(one.exp() * one + zero.exp() * zero).sum(dim=-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`, summed over the bits."""
        if isinstance(other, TorchDistribution) and not isinstance(other, TorchParametric):
            return _native_kl(self, other)
        self._require_kin(other)
        one, zero = logsigmoid(self.inputs), logsigmoid(-self.inputs)
        one_q, zero_q = logsigmoid(other.inputs), logsigmoid(-other.inputs)
        return (one.exp() * (one - one_q) + zero.exp() * (zero - zero_q)).sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the likelier value of each bit, 0 of equals."""
        return TorchDeterministic(self._shaped(self.inputs > 0))

    def _shaped(self, bits: Tensor) -> Tensor:
        return bits.to(torch.int8).reshape(*bits.shape[:-1], *self.event_shape)
