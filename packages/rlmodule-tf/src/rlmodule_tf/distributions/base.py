"""The bases of the TensorFlow distributions. Shapes as in `rlmodule_core.distribution`."""

from __future__ import annotations

import math
from typing import Any, Self

import gymnasium as gym
import tensorflow as tf

from rlmodule_core import Distribution
from rlmodule_core.parametric_distribution import ParametricDistribution


class TfDistribution(Distribution[tf.Tensor]):
    """Base of all distributions over TensorFlow tensors."""

    framework = "tf"


class TfParametric(TfDistribution, ParametricDistribution[tf.Tensor]):
    """Base of those that are flat inputs and settings.

    They cross the border of a `tf.function`, and go through `tf.nest`, as their inputs, with the
    settings as static data. (A SavedModel cannot hold one: return its `inputs` there.)
    """

    @classmethod
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # it would complain aloud
    def from_inputs(cls, inputs: tf.Tensor, space: gym.Space[Any] | None = None) -> Self:
        """See `ParametricDistribution.from_inputs`."""
        return super().from_inputs(inputs, space)

    def _no_tensor(self, value: object) -> TypeError:
        """The error for a value that is no tensor."""
        return TypeError(
            f"{type(self).__name__}.logp: expected a tensor, got {class_name(value)}; "
            "tf.convert_to_tensor(value) makes one"
        )

    def __tf_flatten__(self) -> tuple[dict[str, Any], tuple[Any]]:
        return self.settings(), (self.inputs,)

    @classmethod
    def __tf_unflatten__(cls, metadata: dict[str, Any], components: tuple[Any]) -> Self:
        return cls(components[0], **metadata)  # type: ignore[call-arg]  # as every class below takes them


def class_name(value: object) -> str:
    """Return the name of its class, with the module of what is not built in."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


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
