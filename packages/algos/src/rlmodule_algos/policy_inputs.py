"""Whether what a policy is asked about is of its module's spaces."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_core.nest import Nest, leaves_with_paths, map_nest, matching_leaves, unflatten
from rlmodule_core.spaces import leaf_shape, nest_of_spaces

Array = npt.NDArray[Any]


def one_sample(where: str, name: str, given: Nest, space: gym.Space[Any] | None) -> Nest:
    """Return a sample of the space as arrays; see `batch_of_samples`."""
    return _checked(where, name, given, space, ())


def batch_of_samples(
    where: str, name: str, given: Nest, space: gym.Space[Any] | None, *, rows: int | None = None
) -> Nest:
    """Return a batch of samples of the space, `[B, ...]`, as arrays; `rows` is the B that is needed.

    Structure and shapes must be the space's, numbers finite, classes and bits in their range; a Box may
    leave its bounds. A module that has no space takes anything. Raises ValueError that lists each problem.
    """
    return _checked(where, name, given, space, ("B" if rows is None else rows,))


def _checked(
    where: str, name: str, given: Nest, space: gym.Space[Any] | None, lead: tuple[int | str, ...]
) -> Nest:
    if space is None:
        return map_nest(np.asarray, given)
    nested = nest_of_spaces(space)
    try:
        parts = matching_leaves(nested, given)
    except ValueError as error:
        raise ValueError(f"{where}: {name}{str(error).removeprefix('value')}") from None
    parts = [np.asarray(part) for part in parts]  # of lists of numbers, too
    problems = []
    for (path, leaf_space), array in zip(leaves_with_paths({name: nested}), parts, strict=True):
        shape = leaf_shape(leaf_space)
        if shape is None:  # it holds no arrays of one shape
            continue
        if lead == ("B",) and array.ndim == 1 + len(shape):
            lead = (len(array),)  # what follows has as many
        if problem := _shape_problem(array, (*lead, *shape)) or _value_problem(array, leaf_space):
            problems.append(f"{path}: {problem}")
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}")
    return unflatten(nested, parts)


def _shape_problem(array: Array, expected: tuple[int | str, ...]) -> str | None:
    if array.shape == expected:
        return None
    words = ", ".join(map(str, expected))
    return f"expected the shape [{words}], got {list(array.shape)}"


def _value_problem(array: Array, space: gym.Space[Any]) -> str | None:
    match space:
        case spaces.Box():
            if array.dtype.kind not in "biuf":
                return f"expected numbers, got {array.dtype}"
            return None if np.isfinite(array).all() else "holds numbers that are not finite, NaN or infinite"
        case spaces.Discrete():
            return _outside(array, space.start, space.start + space.n - 1)
        case spaces.MultiDiscrete():
            return _outside(array, space.start, space.start + space.nvec - 1)
    return _outside(array, 0, 1)  # MultiBinary


def _outside(array: Array, low: Any, high: Any) -> str | None:
    if array.dtype.kind not in "biu":
        return f"expected integers, got {array.dtype}"
    bad = (array < low) | (array > high)
    if not bad.any():
        return None
    first = tuple(np.argwhere(bad)[0].tolist())
    least, most = (np.broadcast_to(bound, array.shape)[first].item() for bound in (low, high))
    return f"{array[first].item()} is outside [{least}, {most}]"
