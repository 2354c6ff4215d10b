"""The framework's own distributions behind our contract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import gymnasium as gym
import torch
import torch.distributions as td
from torch import Tensor

from rlmodule_core import Distribution
from rlmodule_torch.distributions.base import AnyTorchDistribution, TorchDistribution, _native_kl
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

    def native_form(self) -> td.Distribution:
        """Return what it was made of."""
        return self.native

    def sample(self) -> Tensor:
        """Draw without gradient."""
        value: Tensor = self.native.sample()
        return value

    def rsample(self) -> Tensor:
        """Draw with gradient; NotImplementedError where the native distribution cannot."""
        with self._told("reparametrised sample", "use sample()"):
            value: Tensor = self.native.rsample()
        return value

    def logp(self, value: Tensor) -> Tensor:
        """Return `[*batch]`."""
        with self._told("log_prob"):
            logp: Tensor = self.native.log_prob(value)
        return logp

    def entropy(self) -> Tensor:
        """Return `[*batch]`; NotImplementedError where the native distribution has no closed form."""
        with self._told("entropy"):
            entropy: Tensor = self.native.entropy()
        return entropy

    def kl(self, other: Distribution[Tensor]) -> Tensor:
        """Return KL(self || other), `[*batch]`, as `torch.distributions.kl_divergence` gives it.

        The other one may be ours where it has a native form. TypeError where PyTorch knows no divergence.
        """
        return _native_kl(self, other)

    def to_deterministic(self) -> TorchDeterministic:
        """Return the mode: of bits that are equally likely 0, of a uniform distribution its middle.

        Raises NotImplementedError where the native distribution has none, and ValueError where it is NaN.
        """
        return TorchDeterministic(self._mode(self.native))

    def _mode(self, native: td.Distribution) -> Tensor:
        if isinstance(native, td.Independent):
            return self._mode(native.base_dist)
        if isinstance(native, td.Bernoulli):  # torch's own is NaN where both are equally likely
            return (native.probs > 0.5).to(native.probs.dtype)
        if isinstance(native, td.Uniform):  # torch's own is NaN
            return native.mean
        with self._told(
            "mode", 'give it one as a property (an estimate, say; "Native distributions" in the docs)'
        ):
            mode: Tensor = native.mode
        if not torch.compiler.is_compiling() and bool(torch.isnan(mode).any()):
            raise ValueError(
                f"{type(native).__name__}: its mode is NaN, so there is no deterministic action: either its "
                "parameters are, or torch defines none for them; give it a mode of its own, or sample"
            )
        return mode

    @contextmanager
    def _told(self, what: str, instead: str = "") -> Iterator[None]:
        """Say what torch says without words: what is missing, and what has it."""
        try:
            yield
        except NotImplementedError as error:
            ways = [instead] if instead else []
            kinds = (self.native, getattr(self.native, "base_dist", None))  # what Independent wraps, too
            if any(isinstance(kind, td.TransformedDistribution) for kind in kinds):
                ways.append("for a normal squashed by a tanh use TorchSquashedGaussian, which has all")
            raise NotImplementedError(
                f"{type(self.native).__name__} of torch.distributions has no {what}: "
                f"{'; '.join(ways) or 'use one of ours, or a class of yours that has it'}"
            ) from error


def as_distribution(value: object) -> Distribution[Tensor]:
    """Return ours as it is and a `torch.distributions` one behind our contract.

    Raises TypeError for anything else.
    """
    if isinstance(value, Distribution) and isinstance(value, AnyTorchDistribution):
        return value
    if isinstance(value, td.Distribution):
        return TorchNative(value)
    raise AnyTorchDistribution.refused(value)
