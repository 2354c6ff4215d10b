"""The bases of the TensorFlow distributions. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

import math
from typing import Any, Self

import gymnasium as gym
import tensorflow as tf

from rlmodule_core import Distribution
from rlmodule_core.distribution import DistributionIn
from rlmodule_core.parametric_distribution import ParametricDistribution

_ANYTHING: Any = object()
"""In a constructor's place of a tensor while `tf.nest` puts what it likes there: a name, a spec, an array."""


class AnyTfDistribution(DistributionIn):
    """Ours and a user's own; what has the methods of a distribution may stand beside them."""

    framework = "tf"
    wanted = "a distribution, such as TfCategorical(logits) or an object with sample, log_prob and entropy"


class TfDistribution(Distribution[tf.Tensor]):
    """Base of all distributions over TensorFlow tensors."""

    framework = "tf"


class TfParametric(TfDistribution, ParametricDistribution[tf.Tensor]):
    """Base of those that are flat inputs and settings.

    They cross the border of a `tf.function`, and go through `tf.nest`, as their inputs, with the
    settings as static data. (A SavedModel cannot hold one: return its `inputs` there.)
    """

    _tensor = tf.Tensor
    _made = "tf.convert_to_tensor({0})"
    _joined = "tf.concat([mean, log_std], axis=-1)"

    @classmethod
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # it would complain aloud
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """See `ParametricDistribution.from_inputs`."""
        return super().from_inputs(inputs, space)

    @classmethod
    def _is_tensor(cls, value: object) -> bool:
        return tf.is_tensor(value) or hasattr(value, "__tf_tensor__") or value is _ANYTHING

    def __tf_flatten__(self) -> tuple[dict[str, Any], tuple[Any]]:
        return self.settings(), (self.inputs,)

    @classmethod
    def __tf_unflatten__(cls, metadata: dict[str, Any], components: tuple[Any]) -> Self:
        inputs = components[0]
        if not cls._no_tensors(inputs):
            return cls(inputs, **metadata)  # type: ignore[call-arg]  # as every class below takes them
        made = cls(_ANYTHING, **metadata)  # type: ignore[call-arg]
        made.inputs = inputs
        return made


def _require_shape(value: Any, shape: Any, owner: TfParametric) -> None:
    """Raise TypeError for no tensor, ValueError unless its shape fits; what a graph does not know does."""
    found = getattr(value, "shape", None)
    if not isinstance(found, tf.TensorShape):
        raise owner._no_tensor(value)
    if not found.is_compatible_with(shape):
        raise owner._misfit(shape, found)


def _value_shape(inputs: tf.Tensor, event_shape: tuple[int, ...]) -> Any:
    """Return `[*batch, *event]` as far as it is known."""
    return inputs.shape[:-1].concatenate(event_shape)


def _reshaped(flat: tf.Tensor, event_shape: tuple[int, ...]) -> tf.Tensor:
    """`[*batch, n]` -> `[*batch, *event]`."""
    if len(event_shape) == 1:
        return flat
    shaped: tf.Tensor = tf.reshape(
        flat, tf.concat([tf.shape(flat)[:-1], tf.constant(event_shape, tf.int32)], axis=0)
    )
    return shaped


def _flattened(value: tf.Tensor, event_shape: tuple[int, ...]) -> tf.Tensor:
    """`[*batch, *event]` -> `[*batch, n]`."""
    if len(event_shape) == 1:
        return value
    batch = tf.shape(value)[: tf.rank(value) - len(event_shape)]
    flat: tf.Tensor = tf.reshape(value, tf.concat([batch, [math.prod(event_shape)]], axis=0))
    return flat
