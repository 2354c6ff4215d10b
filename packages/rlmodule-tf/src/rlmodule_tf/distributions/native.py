"""Foreign distributions behind our contract."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
import tensorflow as tf

from rlmodule_core import Distribution
from rlmodule_tf.distributions.base import TfDistribution
from rlmodule_tf.distributions.deterministic import TfDeterministic


@runtime_checkable
class _SampleLogProbEntropy(Protocol):
    """What we ask of a foreign distribution; TensorFlow itself has none."""

    def sample(self) -> Any: ...
    def log_prob(self, value: Any) -> Any: ...
    def entropy(self) -> Any: ...


class TfNative(TfDistribution):
    """A foreign distribution behind our contract; batch shape `[*batch]` is its own.

    Its methods are `sample`, `log_prob` and `entropy`, and where they are asked for `mode` and
    `kl_divergence`, as TensorFlow Probability names them.
    """

    def __init__(self, native: Any) -> None:
        self.native = native

    @property
    def inputs(self) -> tf.Tensor:  # type: ignore[override]
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError(f"{type(self.native).__name__} has no flat parameters")

    @classmethod
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """Native distributions have no single flat parameter tensor."""
        raise NotImplementedError("a native distribution is made by its own constructor")

    def sample(self) -> tf.Tensor:
        """Draw without gradient."""
        value: tf.Tensor = tf.stop_gradient(self.rsample())
        return value

    def rsample(self) -> tf.Tensor:
        """Draw with gradient, where the native distribution can."""
        value: tf.Tensor = self.native.sample()
        return value

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`."""
        logp: tf.Tensor = self.native.log_prob(value)
        return logp

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`."""
        entropy: tf.Tensor = self.native.entropy()
        return entropy

    def kl(self, other: Self) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`."""
        divergence: tf.Tensor = self._method("kl_divergence")(other.native)
        return divergence

    def to_deterministic(self) -> TfDeterministic:
        """Return the mode."""
        return TfDeterministic(self._method("mode")())

    def _method(self, name: str) -> Any:
        if not hasattr(self.native, name):
            raise NotImplementedError(f"{type(self.native).__name__} has no {name}()")
        return getattr(self.native, name)


def as_distribution(value: object) -> Distribution[tf.Tensor]:
    """Return ours as it is and a foreign one behind our contract, if it has the methods.

    Raises TypeError for anything else.
    """
    if isinstance(value, Distribution):
        return value
    if isinstance(value, _SampleLogProbEntropy):
        return TfNative(value)
    raise TypeError(
        f"action_dist: expected a Distribution or an object with sample, log_prob and entropy, "
        f"got {type(value).__module__}.{type(value).__qualname__}"
    )
