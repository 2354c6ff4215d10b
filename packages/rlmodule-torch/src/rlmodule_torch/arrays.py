"""Tensors as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from rlmodule_core.state import as_dtype

Name = TypeVar("Name")


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array, on a CPU over its memory; bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    array: npt.NDArray[Any] = (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
    return array


def _as_arrays(tensors: Mapping[str, Any], *, where: str) -> dict[str, npt.NDArray[Any]]:
    """Return copies of tensors as arrays. Raises ValueError that lists those which have no such form."""
    problems = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if is_lazy(tensor):
            problems.append(f"{name} has no shape yet: call the module once, or use a layer that is not lazy")
        elif not isinstance(tensor, Tensor):
            problems.append(
                f"{name} is {type(tensor).__qualname__}: a state holds arrays alone, so keep what "
                "get_extra_state() returns in buffers (register_buffer)"
            )
        else:
            try:
                arrays[name] = as_array(tensor).copy()
            except TypeError:  # of PyTorch, for what NumPy lacks
                kind = tensor.dtype if tensor.layout is torch.strided else tensor.layout
                problems.append(
                    f"{name} is {kind}, which no array of NumPy can hold: keep it as float32, say"
                )
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}")
    return arrays


def _write_arrays(tensors: Mapping[str, Tensor], arrays: Mapping[str, Any]) -> None:
    """Write arrays that fit into tensors: first all are converted, then all are copied."""
    dtypes = dtypes_of(tensors)
    new = {name: torch.from_numpy(as_dtype(arrays[name], dtypes[name])) for name in arrays}
    with torch.no_grad():
        for name, tensor in new.items():
            own = tensors[name]
            if any(step == 0 and size > 1 for step, size in zip(own.stride(), own.shape, strict=True)):
                # expanded, so that many elements are one place of memory
                own.data = torch.empty_like(own, memory_format=torch.contiguous_format)
            own.copy_(tensor)


def dtypes_of(tensors: Mapping[Name, Tensor]) -> dict[Name, str]:
    """Return the names of dtypes, the same in every framework."""
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in tensors.items()}


def _take_dtypes(tensors: Mapping[str, Tensor], dtypes: Mapping[str, str]) -> None:
    """Turn floats into other floats, in place, so that whoever holds the tensors sees it."""
    for name, tensor in tensors.items():
        wanted = getattr(torch, dtypes.get(name, ""), None)
        if isinstance(wanted, torch.dtype) and wanted.is_floating_point and tensor.is_floating_point():
            tensor.data = tensor.data.to(wanted)
