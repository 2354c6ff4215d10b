"""The framework's own distributions behind our contract."""

from __future__ import annotations

from typing import Any, Self

import gymnasium as gym
import torch.distributions as td
from torch import Tensor

from rlmodule_core import Distribution
from rlmodule_torch.distributions.base import TorchDistribution
from rlmodule_torch.distributions.deterministic import TorchDeterministic


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
