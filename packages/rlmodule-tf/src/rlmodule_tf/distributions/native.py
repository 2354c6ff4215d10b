"""Foreign distributions behind our contract."""

from __future__ import annotations

from typing import Any, Protocol, Self, runtime_checkable

import gymnasium as gym
import tensorflow as tf

from rlmodule_core import Distribution
from rlmodule_tf.distributions.base import AnyTfDistribution, TfDistribution
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
        value: tf.Tensor = tf.stop_gradient(self.native.sample())
        return value

    def rsample(self) -> tf.Tensor:
        """Draw with gradient; NotImplementedError where the native distribution says that it cannot."""
        if "NOT_REPARAMETERIZED" in repr(getattr(self.native, "reparameterization_type", "")):
            raise NotImplementedError(f"{self._name} has no reparametrised sample; use sample()")
        value: tf.Tensor = self.native.sample()
        return value

    def logp(self, value: tf.Tensor) -> tf.Tensor:
        """Return `[*batch]`."""
        logp: tf.Tensor = self._call("log_prob", value)
        return logp

    def entropy(self) -> tf.Tensor:
        """Return `[*batch]`; NotImplementedError where the native distribution has no closed form."""
        entropy: tf.Tensor = self._call("entropy")
        return entropy

    def kl(self, other: Distribution[tf.Tensor]) -> tf.Tensor:
        """Return KL(self || other), `[*batch]`, as its own `kl_divergence` gives it.

        Raises TypeError unless the other is foreign too: what a library makes of ours is not known here.
        """
        if not isinstance(other, TfNative):
            raise TypeError(
                f"kl: there is no divergence between {self._name} and {type(other).__name__}; "
                "make both of one library, ours or that one"
            )
        divergence: tf.Tensor = self._call("kl_divergence", other.native)
        return divergence

    def to_deterministic(self) -> TfDeterministic:
        """Return the mode.

        Raises NotImplementedError where the native distribution has none, and ValueError where it is NaN.
        """
        mode = tf.convert_to_tensor(self._call("mode"))
        if tf.executing_eagerly() and mode.dtype.is_floating and bool(tf.reduce_any(tf.math.is_nan(mode))):
            raise ValueError(
                f"{self._name}: its mode is NaN, so there is no deterministic action: either its parameters "
                "are, or it defines none for them; give it a mode of its own, or sample"
            )
        return TfDeterministic(mode)

    @property
    def _name(self) -> str:
        return type(self.native).__name__

    def _call(self, name: str, *given: Any) -> Any:
        """Call a method of it; NotImplementedError that says what is missing, and what has it."""
        missing = (
            f"{self._name} has no {name}(): give it one (of its mode an estimate, say), or use one of ours; "
            "for a normal squashed by a tanh TfSquashedGaussian has all"
        )
        if not hasattr(self.native, name):
            raise NotImplementedError(missing)
        try:
            return getattr(self.native, name)(*given)
        except NotImplementedError as error:
            raise NotImplementedError(missing) from error


def as_distribution(value: object) -> Distribution[tf.Tensor]:
    """Return ours as it is and a foreign one behind our contract, if it has the methods.

    Raises TypeError for anything else.
    """
    if isinstance(value, Distribution) and isinstance(value, AnyTfDistribution):
        return value
    if isinstance(value, _SampleLogProbEntropy):
        return TfNative(value)
    raise AnyTfDistribution.refused(value)
