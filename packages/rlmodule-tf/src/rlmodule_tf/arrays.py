"""Tensors as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rlmodule_tf._kernels import Kernel

Name = TypeVar("Name")


def as_array(tensor: tf.Tensor | tf.Variable | Kernel) -> npt.NDArray[Any]:
    """Return a tensor as an array of its own; bfloat16, which NumPy lacks, as float32."""
    array: npt.NDArray[Any] = np.asarray(tensor.numpy())  # a number, where the rank is 0
    return array.astype(np.float32) if tensor.dtype == tf.bfloat16 else array


def dtypes_of(tensors: Mapping[Name, tf.Tensor | tf.Variable | Kernel]) -> dict[Name, str]:
    """Return the names of dtypes, the same in every framework."""
    return {name: tensor.dtype.name for name, tensor in tensors.items()}
