"""Tensors as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf


def as_array(tensor: tf.Tensor | tf.Variable) -> npt.NDArray[Any]:
    """Return a tensor as an array of its own; bfloat16, which NumPy lacks, as float32."""
    array: npt.NDArray[Any] = tensor.numpy()
    return array.astype(np.float32) if tensor.dtype == tf.bfloat16 else array
