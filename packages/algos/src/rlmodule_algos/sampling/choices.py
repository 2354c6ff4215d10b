"""What an action chooses between, component by component, and where a mask leaves nothing to choose."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_core.nest import Nest, leaves_with_paths, matching_leaves
from rlmodule_core.spaces import nest_of_spaces

BoolArray = npt.NDArray[np.bool_]


class _Component(NamedTuple):
    name: str
    size: int


def without_choice(mask: Nest, action_space: gym.Space[Any]) -> tuple[BoolArray, list[str]]:
    """Say where a mask, `[T, B, ...]`, forbids all that a component can be, `[T, B, K]`, and what that is.

    The mask is as long as there are logits, in their order, or nested as the actions are. An array of
    another length is taken as one component; of a nest of another form only its module knows the meaning.

    >>> none, names = without_choice(np.array([[[1, 0, 0, 0]]]), spaces.MultiDiscrete([2, 2]))
    >>> none.tolist(), names
    ([[[False, True]]], ['value of action[0]', 'value of action[1]'])
    """
    nest = nest_of_spaces(action_space)
    parts = [_components(path, leaf) for path, leaf in leaves_with_paths({"action": nest})]
    if isinstance(mask, np.ndarray):
        length = math.prod(mask.shape[2:])
        joined = list(chain.from_iterable(parts))
        fits = sum(part.size for part in joined) == length
        columns, parts = [mask], [joined if fits else [_Component("action", length)]]
    else:
        columns = _nested_as(nest, mask)
    none, names = [], []
    for column, components in zip(columns, parts, strict=False):
        if not isinstance(column, np.ndarray):
            continue  # the mask goes deeper than the actions
        rows = np.asarray(column, np.bool_).reshape(*column.shape[:2], math.prod(column.shape[2:]))
        sizes = [part.size for part in components]
        if sizes and sum(sizes) == rows.shape[-1]:
            none.append(~np.logical_or.reduceat(rows, np.cumsum([0, *sizes[:-1]]), axis=-1))
            names += [part.name for part in components]
    return np.concatenate(none, axis=-1) if none else np.zeros((1, 1, 0), np.bool_), names


def _components(path: str, space: gym.Space[Any]) -> list[_Component]:
    """Return the choices of a leaf of an action space, in the order of their logits; none of other leaves."""
    match space:
        case spaces.Discrete():
            return [_Component("action" if path == "action" else f"value of {path}", int(space.n))]
        case spaces.MultiDiscrete():
            return [
                _Component(f"value of {path}{list(index)}", int(size))
                for index, size in np.ndenumerate(space.nvec)
            ]
    return []


def _nested_as(nest: Nest, mask: Nest) -> list[Any]:
    try:
        return matching_leaves(nest, mask)
    except ValueError:
        return []
