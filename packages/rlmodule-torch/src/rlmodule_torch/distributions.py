"""Action distributions over torch tensors. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

import math
from typing import Any, Self

import gymnasium as gym
import torch
import torch.distributions as td
from gymnasium import spaces
from torch import Tensor

from rlmodule_core import (
    Distribution,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyDiagGaussian,
    NumpyDistribution,
)

LOG_TWO_PI = math.log(2.0 * math.pi)


class TorchDistribution(Distribution[Tensor]):
    """Base of the distributions below."""


class TorchCategorical(TorchDistribution):
    """`p(start + i) = softmax(inputs)_i`; inputs are logits `[*batch, n]`, values int64 `[*batch]`."""

    def __init__(self, inputs: Tensor, start: int = 0) -> None:
        self.inputs = inputs
        self.start = start

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Discrete space, for its start."""
        return cls(inputs, int(space.start) if isinstance(space, spaces.Discrete) else 0)

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return a Categorical with the same start."""
        return type(self)(inputs, self.start)

    def to_numpy(self) -> NumpyCategorical | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyCategorical(self.inputs.detach().cpu().numpy(), self.start)

    def sample(self) -> Tensor:
        """Draw int64 values, `[*batch]`."""
        # The smallest E_i / p_i, with E_i exponential, is i with probability p_i; -inf is never drawn.
        noise = torch.empty_like(self.inputs).exponential_().log()
        return (noise - self.inputs.detach()).argmin(dim=-1) + self.start

    def rsample(self) -> Tensor:
        """Classes have no gradient."""
        raise NotImplementedError("TorchCategorical has no reparametrised sample; use sample()")

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`."""
        index = (value.long() - self.start).unsqueeze(-1)
        return self._log_softmax().gather(-1, index).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return `[*batch]`; a class of probability 0 adds 0."""
        logp = self._log_softmax()
        return -(logp.exp() * _finite(logp)).sum(dim=-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`."""
        logp = self._log_softmax()
        return (logp.exp() * (_finite(logp) - _finite(other._log_softmax()))).sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the class of the largest logit, the first of equals."""
        return TorchDeterministic(self.inputs.argmax(dim=-1) + self.start)

    def _log_softmax(self) -> Tensor:
        return torch.log_softmax(self.inputs, dim=-1)


class TorchDiagGaussian(TorchDistribution):
    """Independent normals; inputs are `[mean, log_std]`, `[*batch, 2 n]`, values `[*batch, *event]`."""

    def __init__(self, inputs: Tensor, event_shape: tuple[int, ...] | None = None) -> None:
        self.inputs = inputs
        self.mean, self.log_std = inputs.chunk(2, dim=-1)
        self.event_shape = (self.mean.shape[-1],) if event_shape is None else event_shape

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Box, for the shape of one value."""
        return cls(inputs, space.shape if isinstance(space, spaces.Box) else None)

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return a DiagGaussian over values of the same shape."""
        return type(self)(inputs, self.event_shape)

    def to_numpy(self) -> NumpyDiagGaussian | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyDiagGaussian(self.inputs.detach().cpu().numpy(), self.event_shape)

    def sample(self) -> Tensor:
        """Draw values without gradient, `[*batch, *event]`."""
        return self.rsample().detach()

    def rsample(self) -> Tensor:
        """Draw values with the gradient of mean and log_std, `[*batch, *event]`."""
        value = self.mean + self.log_std.exp() * torch.randn_like(self.mean)
        shaped: Tensor = value.unflatten(-1, self.event_shape)
        return shaped

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`, summed over the components."""
        z = (value.reshape(self.mean.shape) - self.mean) * torch.exp(-self.log_std)
        return (-0.5 * z * z - self.log_std - 0.5 * LOG_TWO_PI).sum(dim=-1)

    def entropy(self) -> Tensor:
        """Return `[*batch]`."""
        return (self.log_std + 0.5 * (1.0 + LOG_TWO_PI)).sum(dim=-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`."""
        gap = other.log_std - self.log_std
        distance = ((self.mean - other.mean) * torch.exp(-other.log_std)) ** 2
        return (gap + 0.5 * (torch.exp(-2.0 * gap) + distance - 1.0)).sum(dim=-1)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the mean."""
        return TorchDeterministic(self.mean.unflatten(-1, self.event_shape))


class TorchDeterministic(TorchDistribution):
    """Always `inputs`, which is the value itself."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` adds nothing: the inputs are the values."""
        return cls(inputs)

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return the distribution that is always `inputs`."""
        return type(self)(inputs)

    def to_numpy(self) -> NumpyDistribution | None:
        """Return the same distribution over NumPy arrays."""
        return NumpyDeterministic(self.inputs.detach().cpu().numpy())

    def sample(self) -> Tensor:
        """Return the value."""
        return self.inputs.detach()

    def rsample(self) -> Tensor:
        """Return the value with its gradient."""
        return self.inputs

    def logp(self, value: Tensor) -> Tensor:
        """A point mass has no log-density to train with."""
        raise NotImplementedError("a deterministic policy has no log-probability")

    def entropy(self) -> Tensor:
        """A point mass has no entropy to train with."""
        raise NotImplementedError("a deterministic policy has no entropy")

    def kl(self, other: Self) -> Tensor:
        """A point mass has no divergence to train with."""
        raise NotImplementedError("a deterministic policy has no KL divergence")

    def to_deterministic(self) -> Self:
        """Return itself."""
        return self


class TorchNative(TorchDistribution):
    """A `torch.distributions` object behind our contract; batch shape `[*batch]` is its own."""

    def __init__(self, native: td.Distribution) -> None:
        self.native = native

    @property
    def inputs(self) -> Tensor:  # type: ignore[override]
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError(f"{type(self.native).__name__} has no flat parameters")

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError("a native distribution is made by its own constructor")

    def sample(self) -> Tensor:
        """Draw without gradient."""
        value: Tensor = self.native.sample()
        return value

    def rsample(self) -> Tensor:
        """Draw with gradient, where the native distribution can."""
        value: Tensor = self.native.rsample()
        return value

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`."""
        logp: Tensor = self.native.log_prob(value)
        return logp

    def entropy(self) -> Tensor:
        """Return `[*batch]`."""
        entropy: Tensor = self.native.entropy()
        return entropy

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`."""
        divergence: Tensor = td.kl_divergence(self.native, other.native)
        return divergence

    def to_deterministic(self) -> TorchDeterministic:
        """Return the mode."""
        return TorchDeterministic(self.native.mode)


def as_distribution(value: object) -> Distribution[Tensor]:
    """Return ours as it is and a `torch.distributions` one behind our contract.

    Raises TypeError for anything else.
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, td.Distribution):
        return TorchNative(value)
    raise TypeError(
        f"action_dist: expected a Distribution or a torch.distributions.Distribution, "
        f"got {type(value).__module__}.{type(value).__qualname__}"
    )


def _finite(logp: Tensor) -> Tensor:
    """Replace -inf by the smallest number, so that 0 * logp is 0 in value and in gradient."""
    return logp.clamp(min=torch.finfo(logp.dtype).min)
