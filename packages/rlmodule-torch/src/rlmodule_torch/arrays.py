"""Tensors as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array, on a CPU over its memory; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    array: npt.NDArray[Any] = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array
