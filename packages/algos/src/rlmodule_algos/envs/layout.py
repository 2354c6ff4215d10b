"""The arrays that hold the values of a space, and how a value gets into a row of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest, leaves, leaves_with_paths, map_nest, matching_leaves
from rlmodule_core.spaces import leaf_shape, nest_of_spaces

Array = npt.NDArray[Any]
Cast: TypeAlias = tuple[Array, int, Array]
"""A column, a row of it, and the value that belongs there."""


class Layout:
    """Structure, shapes and dtypes of a space; float64 becomes float32, which networks compute in."""

    def __init__(self, space: gym.Space[Any]) -> None:
        """Raise ValueError for a space whose values are no arrays of one shape."""
        self._one = map_nest(_zeros, nest_of_spaces(space))
        self._leaves = leaves(self._one)

    def allocate(self, rows: int) -> Nest:
        """Return zeros, `[rows, ...]`, in memory of their own."""
        return map_nest(lambda leaf: np.zeros((rows, *leaf.shape), leaf.dtype), self._one)

    def write(self, columns: list[Array], row: int, value: Nest, casts: list[Cast]) -> None:
        """Put a value of the space into a row of the leaves of what `allocate` returned.

        A copy of what has another dtype is added to `casts`, for `write_casts` when all rows are there.
        Raises ValueError that names the leaf whose structure, shape or kind of number is not the space's.
        """
        found = matching_leaves(self._one, value)
        for position, (leaf, part) in enumerate(zip(self._leaves, found, strict=True)):
            array = np.asarray(part)
            if array.shape != leaf.shape or not (
                array.dtype == leaf.dtype or np.can_cast(array.dtype, leaf.dtype, "same_kind")
            ):
                raise ValueError(
                    f"{self._path(position)}: expected {_kind(leaf)}, got {_kind(array)}; "
                    "return what the observation space describes"
                )
            if array.dtype == leaf.dtype:
                columns[position][row] = array
            else:
                casts.append((columns[position], row, array.copy()))

    def _path(self, position: int) -> str:
        path = [path for path, _leaf in leaves_with_paths(self._one)][position]
        return f"value{path and ('' if path.startswith('[') else '.')}{path}"


def write_casts(casts: Sequence[Cast]) -> None:
    """Write values into columns of another dtype.

    What float32 cannot hold becomes infinite, without a word of NumPy's: who reads it says where it stands.
    """
    if casts:
        with np.errstate(over="ignore"):  # once for all of them, as it takes as long as several casts
            for column, row, array in casts:
                column[row] = array


def _zeros(space: gym.Space[Any]) -> Array:
    shape = leaf_shape(space)
    if shape is None:
        raise ValueError(
            f"expected a Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these, got {space}"
        )
    dtype: npt.DTypeLike | None = np.float32 if space.dtype == np.float64 else space.dtype
    return np.zeros(shape, dtype)


def _kind(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
