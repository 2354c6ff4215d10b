"""Whether what a distribution gives are actions of a space: by their form, their classes, their numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_core.distribution import Distribution
from rlmodule_core.distribution_numbers import last_size
from rlmodule_core.nest import Nest, leaves_with_paths, matching_leaves
from rlmodule_core.parametric_distribution import MultiDistribution, ParametricDistribution
from rlmodule_core.spaces import leaf_shape, nest_of_spaces

Array: TypeAlias = npt.NDArray[Any]
ToArrays: TypeAlias = Callable[[Nest], Nest]


def action_problems(
    space: gym.Space[Any],
    distribution: Distribution[Any],
    drawn: Mapping[str, Nest],  # by what it is called: arrays `[*rows, *event]`, nested as it was drawn
    rows: tuple[int, ...],
    to_arrays: ToArrays,  # of the distribution's framework
) -> list[str]:
    """Return what keeps a distribution from being one over `space`, a line for each place.

    What is beyond the bounds of a Box is an action all the same: whoever acts clips it. Spaces that hold no
    arrays are not looked into.
    """
    structure = nest_of_spaces(space)
    columns = {}
    for what, value in drawn.items():
        try:
            columns[what] = matching_leaves(structure, value)
        except ValueError as error:
            return [f"{error} for {what}"]
    places = list(leaves_with_paths(structure))
    parts: list[Distribution[Any]] = [distribution] * len(places)
    if isinstance(distribution, MultiDistribution):
        parts = distribution.each
    lines = []
    for i, (path, part) in enumerate(places):
        leaves = {what: column[i] for what, column in columns.items()}
        problem = _problem(part, parts[i], leaves, rows, to_arrays)
        if problem:
            lines.append(f"{path or 'action'}: {problem}")
    return lines


def _problem(
    space: gym.Space[Any],
    distribution: Distribution[Any],
    drawn: Mapping[str, Any],
    rows: tuple[int, ...],
    to_arrays: ToArrays,
) -> str | None:
    """Return the first of what is wrong in one place."""
    shape, classes = leaf_shape(space), _classes_of(space)
    if shape is None:
        return None
    for what, value in drawn.items():
        found = _form_problem(space, value, (*rows, *shape))
        if found:
            return f"{found} for {what}"
    if classes is None:
        return None
    return (
        _inputs_problem(space, classes, distribution)
        or _native_problem(space, classes, distribution, (*rows, *shape), to_arrays)
        or _numbers_problem(space, classes, drawn)
    )


def _form_problem(space: gym.Space[Any], value: Any, shape: tuple[int, ...]) -> str | None:
    """Compare the shape, and the kind of the dtype."""
    match space:
        case spaces.MultiBinary():
            name, kinds = "bits", "biuf"  # natives draw them as floats, and the space takes them so
        case spaces.Box() if np.dtype(space.dtype).kind == "f":
            name, kinds = "floats", "fV"  # V: bfloat16, which NumPy lacks
        case spaces.Box():
            name, kinds = "numbers", "iufV"  # whoever acts clips and converts them
        case _:
            name, kinds = "whole numbers", "iu"
    expected = f"expected {name} {list(shape)}, as {_named(space)} has them"
    if not isinstance(value, (np.ndarray, np.generic)):
        return f"{expected}, got {type(value).__qualname__}"
    if value.shape != shape or value.dtype.kind not in kinds:
        return f"{expected}, got {value.dtype} {list(value.shape)}"
    return None


def _classes_of(space: gym.Space[Any]) -> tuple[Array, Array] | None:
    """Return the first class and the number of classes of each component, `[*event]`; None for a Box."""
    match space:
        case spaces.Discrete():
            return np.array(space.start), np.array(space.n)
        case spaces.MultiDiscrete():
            return space.start, space.nvec
        case spaces.MultiBinary():
            return np.zeros(space.shape, np.int64), np.full(space.shape, 2)
    return None


def _inputs_problem(
    space: gym.Space[Any], classes: tuple[Array, Array], distribution: Distribution[Any]
) -> str | None:
    """Compare the classes that a distribution of ours numbers; the other kinds show in the form."""
    if not isinstance(distribution, ParametricDistribution):
        return None
    settings = distribution.settings()
    sizes = {"Categorical": (last_size(distribution.inputs),), "MultiCategorical": settings.get("sizes")}
    found = sizes.get(distribution.kind)
    if found is None:
        return None
    starts = np.broadcast_to(settings.get("start", 0), len(found)).tolist()
    expected = [numbers.ravel().tolist() for numbers in classes]
    if [starts, list(found)] == expected:
        return None
    return (
        f"expected logits of {_of(expected[1])} classes from {_of(expected[0])}, as {_named(space)} has "
        f"them, got logits of {_of(list(found))} from {_of(starts)}"
    )


def _native_problem(
    space: gym.Space[Any],
    classes: tuple[Array, Array],
    distribution: Distribution[Any],
    shape: tuple[int, ...],
    to_arrays: ToArrays,
) -> str | None:
    """Compare the classes to which a framework's own distribution gives a probability.

    More logits than classes are its way to pad components of unequal sizes, if those beyond are never drawn.
    """
    probabilities = _probabilities(distribution, shape, to_arrays)
    if probabilities is None:
        return None
    counts = classes[1]
    width = probabilities.shape[-1]
    possible = (probabilities > 0).reshape(-1, *counts.shape, width).any(axis=0).sum(axis=-1)
    if (width >= counts).all() and (possible <= counts).all():
        return None
    found = np.where(width < counts, width, possible)
    return (
        f"expected probabilities of {_of(counts.ravel().tolist())} classes, as {_named(space)} has them, "
        f"got {_of(found.ravel().tolist())}"
    )


def _probabilities(
    distribution: Distribution[Any], shape: tuple[int, ...], to_arrays: ToArrays
) -> Array | None:
    """Return the probabilities `[*shape, n]` that a native distribution was made of, if it numbers classes.

    Others have parameters as well: logits of bits, say, of the shape of a value.
    """
    native = getattr(distribution, "native", None)
    while type(native).__name__ == "Independent":  # as torch and TensorFlow Probability name it
        native = getattr(native, "base_dist", None) or getattr(native, "distribution", None)
    for name in ("probs", "logits"):
        given: Any = getattr(native, name, None)
        if not hasattr(given, "shape") or tuple(given.shape[:-1]) != shape or len(given.shape) == len(shape):
            continue
        numbers = np.asarray(to_arrays(given), np.float64)
        if name == "logits":
            numbers = np.exp(numbers - numbers.max(axis=-1, keepdims=True))
        return numbers
    return None


def _numbers_problem(
    space: gym.Space[Any], classes: tuple[Array, Array], drawn: Mapping[str, Array]
) -> str | None:
    """Look for numbers that are of no class."""
    starts, counts = classes
    for what, value in drawn.items():
        with np.errstate(invalid="ignore"):  # NaN among bits
            whole = value.astype(np.int64)
        outside = (whole != value) | (whole < starts) | (whole >= starts + counts)
        if outside.any():
            return f"expected actions of {_named(space)}, got {value[outside][0]} for {what}"
    return None


def _of(numbers: list[Any]) -> str:
    return str(numbers[0] if len(numbers) == 1 else numbers)


def _named(space: gym.Space[Any]) -> str:
    return " ".join(str(space).split())  # arrays are written on several lines
