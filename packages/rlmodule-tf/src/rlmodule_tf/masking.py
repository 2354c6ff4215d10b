"""Means over real rows, and the guard against silent broadcasting."""

from __future__ import annotations

import tensorflow as tf


def zero_padding(mask: tf.Tensor | None, *columns: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return the columns, `[*mask, ...]`, with 0 where `mask` is False; None leaves them as they are.

    A loss does this first: a NaN of padding that went through a nonlinear operation would come back
    in the gradient, however it is masked afterwards.
    """
    if mask is None:
        return columns
    return tuple(tf.where(_over(mask, column), column, tf.zeros_like(column)) for column in columns)


def _over(mask: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
    """Return the mask with an axis of one for each that the column has behind it."""
    for _ in range(column.shape.rank - mask.shape.rank):
        mask = tf.expand_dims(mask, -1)
    return mask


def masked_mean(values: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """Return the mean of the rows where `mask` is True; None means all. No such row: 0."""
    if mask is None:
        return tf.reduce_mean(values)
    kept = tf.where(mask, values, tf.zeros_like(values))
    return tf.reduce_sum(kept) / tf.maximum(tf.reduce_sum(tf.cast(mask, values.dtype)), 1)


def constant(values: tf.Tensor) -> tf.Tensor:
    """Return the values without their gradient."""
    stopped: tf.Tensor = tf.stop_gradient(values)
    return stopped


def squared_error(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return `(values - targets)^2`, each."""
    errors: tf.Tensor = tf.math.squared_difference(values, targets)
    return errors


def require_same_shape(**tensors: tf.Tensor) -> None:
    """Raise ValueError unless all shapes agree: `[N]` against `[N, 1]` would broadcast to `[N, N]`.

    A size that a graph does not know yet agrees with any.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    first = next(iter(shapes.values()))
    if not all(first.is_compatible_with(shape) for shape in shapes.values()):
        listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"a loss takes columns of one shape, got {listed}")
