"""Weights of convolutions, which TensorFlow computes with in another order of axes than they are known by."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Array = npt.NDArray[Any]
_STORED: Final = (2, 3, 1, 0)  # the axes of [outputs, inputs, height, width], as they lie in the variable
_KNOWN: Final = (3, 2, 0, 1)  # and back


class Kernel(tf.Module):
    """`[outputs, inputs, height, width]` to all that read and write weights by name, states above all.

    The variable inside is `[height, width, inputs, outputs]`: turned at each call instead, small batches
    would take a seventh longer.
    """

    def __init__(self, weight: Array) -> None:
        super().__init__()
        self.variable = tf.Variable(tf.convert_to_tensor(self.stored(weight), tf.float32))

    @staticmethod
    def stored(weight: Array) -> Array:
        """Return a weight, or what belongs to its numbers one by one, in the order of the variable."""
        return np.ascontiguousarray(np.transpose(weight, _STORED))

    @staticmethod
    def known(array: Array) -> Array:
        """Return what is in the order of the variable in that of the weight."""
        return np.ascontiguousarray(np.transpose(array, _KNOWN))

    def flat_stored(self, weight: Array) -> Array:
        """As `stored`, from flat to flat."""
        return self.stored(weight.reshape(self.shape)).ravel()

    def flat_known(self, array: Array) -> Array:
        """As `known`, from flat to flat."""
        return self.known(array.reshape(self.variable.shape)).ravel()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        sizes: list[Any] = self.variable.shape.as_list()
        return tuple(sizes[axis] for axis in _KNOWN)

    @property
    def dtype(self) -> tf.DType:
        """The dtype of the numbers."""
        return self.variable.dtype

    def numpy(self) -> Array:
        """Return a copy of the weight."""
        return self.known(self.variable.numpy())

    def assign(self, weight: Array) -> None:
        """Write the weight."""
        self.variable.assign(self.stored(np.asarray(weight)))
