"""Between NumPy and torch. Where memory can be shared it is: on a CPU nothing here copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlmodule_core.module import Batch, Output, RLModule
from rlmodule_core.nest import Nest, map_nest
from rlmodule_torch.arrays import as_array
from rlmodule_torch.distributions import as_distribution

__all__ = [
    "as_array",
    "as_distribution",
    "call",
    "mean_of",
    "no_grad",
    "on_device",
    "seed",
    "take",
    "threads",
    "to_numpy",
    "to_tensors",
]


def to_tensors(nest: Nest, device: torch.device | str | None = None) -> Nest:
    """Turn a nest of arrays into a nest of tensors; on a CPU they share the arrays' memory."""
    return map_nest(lambda array: _to_tensor(array, device), nest)


def to_numpy(nest: Nest) -> Nest:
    """Turn a nest of tensors into a nest of arrays, without their gradients."""
    return map_nest(as_array, nest)


def call(module: RLModule, forward: str, batch: Batch) -> Output:
    """Call one of the public forwards, by name."""
    output: Output = getattr(module, forward)(batch)
    return output


def take(columns: Mapping[str, Nest], indices: npt.NDArray[np.int64]) -> dict[str, Nest]:
    """Gather rows `indices` of every column into new contiguous tensors."""
    rows = torch.from_numpy(indices)
    return {
        name: map_nest(lambda t: t.index_select(0, rows.to(t.device)), column)
        for name, column in columns.items()
    }


def mean_of(results: Sequence[Sequence[Tensor]]) -> list[float]:
    """Return the mean of each field over several results of scalars, in one transfer."""
    flat = torch.stack([field for result in results for field in result])
    means: list[float] = flat.reshape(len(results), -1).double().mean(dim=0).tolist()
    return means


def seed(number: int) -> None:
    """Seed the framework's own generators, which native distributions and dropout draw from."""
    torch.manual_seed(number)


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Make layers and tensors on `device` inside. Raises ValueError if it cannot be used."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # not a device, or not on this machine
        raise ValueError(f"device {device!r} cannot be used by torch here: {error}") from error
    with torch.device(device):
        yield


@contextmanager
def no_grad() -> Iterator[None]:
    """Record no gradient inside."""
    with torch.no_grad():
        yield


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads inside (None: as many as before), then as before.

    Two threads make small networks many times slower.
    """
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _to_tensor(array: npt.NDArray[Any], device: torch.device | str | None) -> Tensor:
    if not array.flags.writeable:  # torch has no read-only tensors, so a shared one would be unsafe
        array = np.array(array)
    try:
        tensor = torch.from_numpy(array)
    except ValueError:  # torch has no negative strides either
        tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor if device is None else tensor.to(device)
