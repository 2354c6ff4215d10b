"""Mean and variance of everything seen so far, one batch at a time.

Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", the pairwise rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_core.nest import Nest
from rlmodule_core.observation_parts import LeafPath, leaf_at, path_text

Array = npt.NDArray[Any]

LARGEST = 1e18
"""From here on a variance overflows float32, in which it is kept: one such row would blind its feature."""


@dataclass(frozen=True)
class Moments:
    """Of `count` rows."""

    mean: Array  # [*shape]
    var: Array  # [*shape], divided by n
    count: int


def leaf_rows(leaves: Sequence[tuple[LeafPath, tuple[int, ...]]], obs: Nest) -> list[Array]:
    """Return the rows `[N, *shape]` of each leaf, `[*batch, *shape]` in the observations.

    Raises ValueError that lists every leaf that is missing, holds no numbers or has another shape.

    >>> [rows.shape for rows in leaf_rows([(("a",), (2,))], {"a": np.zeros((4, 3, 2))})]
    [(12, 2)]
    """
    found, problems = [], []
    for path, shape in leaves:
        where = f"obs{path_text(path)}"
        try:
            leaf = np.asarray(leaf_at(obs, path))
        except (KeyError, IndexError, TypeError, ValueError):
            problems.append(f"{where}: expected an array, found none")
            continue
        leading = leaf.ndim - len(shape)
        if leaf.dtype.kind not in "fiub" or leading < 1 or leaf.shape[leading:] != tuple(shape):
            expected = ", ".join(["...", *map(str, shape)])
            problems.append(f"{where}: expected numbers [{expected}], got {leaf.dtype} {list(leaf.shape)}")
            continue
        found.append(leaf.reshape(math.prod(leaf.shape[:leading]), *shape))
    if problems:
        raise ValueError(f"update_normalizer: {'; '.join(problems)}; nothing was changed")
    return found


def updated_moments(old: Moments, rows: Array) -> Moments:
    """Return the moments of the old rows and of `rows` `[N, *shape]` together, in float64.

    A row that holds a NaN, an infinity, or a number of LARGEST or more is left out.

    >>> updated_moments(Moments(np.zeros(1), np.ones(1), 0), np.array([[1.0], [3.0], [np.nan]]))
    Moments(mean=array([2.]), var=array([1.]), count=2)
    """
    rows = np.asarray(rows, np.float64)
    rows = rows[(np.abs(rows) < LARGEST).all(axis=tuple(range(1, rows.ndim)))]
    if not len(rows):
        return old
    count = old.count + len(rows)
    if not old.count:
        return Moments(rows.mean(axis=0), rows.var(axis=0), count)
    old_mean, old_var = np.asarray(old.mean, np.float64), np.asarray(old.var, np.float64)
    delta = rows.mean(axis=0) - old_mean
    mean = old_mean + delta * len(rows) / count
    spread = old_var * old.count + rows.var(axis=0) * len(rows) + delta**2 * old.count * len(rows) / count
    return Moments(mean, spread / count, count)
