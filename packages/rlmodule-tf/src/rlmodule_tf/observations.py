"""Encoders of observations that are no vectors, and the running normalisation of those that are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from rlmodule_core import (
    ComplexEncoderConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
)
from rlmodule_core.encoder_configs import leaf_at, with_leaf
from rlmodule_core.nest import Nest
from rlmodule_core.numpy_layers import RunningNorm
from rlmodule_core.running_moments import Moments, leaf_rows, updated_moments
from rlmodule_tf.layers import TfLayer, TfMLPEncoder, _cast, _flat, generator, parameter


class TfFlattenEncoder(TfLayer):
    """`[*batch, *shape]` of numbers -> `[*batch, n]` floats; nothing is learned."""

    def __init__(self, config: FlattenEncoderConfig) -> None:
        super().__init__()
        self.config = config

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Flatten, cast and scale."""
        config = self.config
        x = _cast(_flat(x, len(config.shape), config.output_dim), tf.float32)
        return x if config.scale == 1.0 else x * config.scale


class TfOneHotEncoder(TfLayer):
    """`[*batch, *shape]` of classes, ints or floats -> one-hot vectors side by side; nothing is learned."""

    def __init__(self, config: OneHotEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self._component, self._number = config.columns()

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Compare each class with all that it could be, which needs no look at the numbers."""
        sizes = self.config.sizes
        x = _comparable(_flat(x, len(self.config.shape), len(sizes)))
        if len(sizes) > 1:
            x = tf.gather(x, self._component, axis=-1)
        return tf.cast(tf.equal(x, tf.cast(self._number, x.dtype)), tf.float32)


class TfEmbeddingEncoder(TfLayer):
    """`[*batch, *shape]` of classes, ints or floats -> a learned vector each, side by side."""

    def __init__(self, config: EmbeddingEncoderConfig) -> None:
        super().__init__()
        self.config = config
        shape = (sum(config.sizes), config.dim)
        self.weight = parameter(config.gain * generator().standard_normal(shape))
        # where the vectors of each component begin
        self._offset = np.cumsum((0, *config.sizes[:-1])).astype(np.int64)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Look the vectors up; a number that is no class gives zeros."""
        config = self.config
        x = _comparable(_flat(x, len(config.shape), len(config.sizes)))
        number = tf.cast(x, tf.int64)
        index = number - tf.constant(config.start, tf.int64)
        known = (index >= 0) & (index < tf.constant(config.sizes, tf.int64)) & (tf.cast(number, x.dtype) == x)
        row = tf.where(known, index + self._offset, tf.zeros_like(index))
        found = tf.gather(self.weight, row)
        return _flat(tf.where(tf.expand_dims(known, -1), found, tf.zeros_like(found)), 2, config.output_dim)


class TfComplexEncoder(TfLayer):
    """A nested observation: each leaf through its own encoder, joined in their order, then `fusion`."""

    def __init__(self, config: ComplexEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.leaves: list[Any] = [leaf.build("tf") for _, leaf in config.leaves]
        self.fusion = None if config.fusion is None else TfMLPEncoder(config.fusion)

    def __call__(self, obs: Nest) -> tf.Tensor:
        """Encode dicts, tuples, or any Mapping; leaves that no path names are not looked at."""
        paths = [path for path, _ in self.config.leaves]
        parts = [encode(leaf_at(obs, path)) for path, encode in zip(paths, self.leaves, strict=True)]
        joined = tf.concat(parts, axis=-1)
        return joined if self.fusion is None else self.fusion(joined)


class TfNormalizer(TfLayer):
    """Observations minus their running mean, over their running deviation, clipped.

    The statistics are variables that do not train: they are in the state, and nothing but `update`
    moves them. Before the first one observations are as they came.
    """

    def __init__(self, config: NormalizerConfig) -> None:
        super().__init__()
        self.config = config
        self.moments = [_Moments(shape) for _, shape in config.leaves]

    def __call__(self, obs: Nest) -> Nest:
        """Return the observation with the config's leaves normalised, the others as they are."""
        for (path, _), moments in zip(self.config.leaves, self.moments, strict=True):
            obs = with_leaf(obs, path, moments(leaf_at(obs, path), self.config))
        return obs

    def update(self, obs: Nest) -> None:
        """Merge a batch of observations, NumPy arrays `[*batch, *shape]`; rows with a NaN are left out.

        Raises ValueError that lists every leaf that is missing or of another shape, and changes nothing.
        """
        for moments, rows in zip(self.moments, leaf_rows(self.config.leaves, obs), strict=True):
            moments.update(rows)

    def running_norm(self) -> RunningNorm | None:
        """Return the same over copies of the statistics; None unless it is for one vector."""
        if [path for path, _ in self.config.leaves] != [()]:
            return None
        own = self.moments[0]
        if own.mean.shape.rank != 1:
            return None
        arrays = (own.mean.numpy(), own.var.numpy(), np.asarray(own.count.numpy()))
        return RunningNorm(*arrays, clip=self.config.clip, epsilon=self.config.epsilon)


class _Moments(TfLayer):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = tf.Variable(tf.zeros(shape), trainable=False)
        self.var = tf.Variable(tf.ones(shape), trainable=False)
        self.count = tf.Variable(tf.zeros([], tf.int64), trainable=False)

    def __call__(self, x: tf.Tensor, config: NormalizerConfig) -> tf.Tensor:
        counted = self.count > 0  # else x stays as it is: nothing is known that it could be far from
        spread = tf.where(counted, self.var + config.epsilon, tf.ones_like(self.var))
        limit = tf.where(counted, tf.constant(config.clip, spread.dtype), math.inf)
        x = (_cast(x, self.mean.dtype) - self.mean) / tf.sqrt(spread)
        return tf.clip_by_value(x, -limit, limit)

    def update(self, rows: np.ndarray[Any, Any]) -> None:
        old = Moments(self.mean.numpy(), self.var.numpy(), int(self.count.numpy()))
        for name, value in vars(updated_moments(old, rows)).items():
            variable = getattr(self, name)
            variable.assign(np.asarray(value, variable.dtype.as_numpy_dtype))


def _comparable(x: tf.Tensor) -> tf.Tensor:
    """Return classes in a dtype that holds all of them and what is none."""
    return x if x.dtype.is_floating else _cast(x, tf.int64)
