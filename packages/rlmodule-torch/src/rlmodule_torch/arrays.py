"""Tensors as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

Name = TypeVar("Name")


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array, on a CPU over its memory; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    array: npt.NDArray[Any] = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array


def dtypes_of(tensors: Mapping[Name, Tensor]) -> dict[Name, str]:
    """Return the names of dtypes, the same in every framework."""
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}


def _take_dtypes(tensors: Mapping[str, Tensor], dtypes: Mapping[str, str]) -> None:
    """Turn floats into other floats, in place, so that whoever holds the tensors sees it."""
    for name, tensor in tensors.items():
        wanted = getattr(torch, dtypes.get(name, ""), None)
        if isinstance(wanted, torch.dtype) and wanted.is_floating_point and tensor.is_floating_point():
            tensor.data = tensor.data.to(wanted)
