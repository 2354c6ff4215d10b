"""Whether the layers that a catalog decided on fit each other: asked once, when a module is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import create_empty_array

from rlmodule_core.columns import Columns
from rlmodule_core.module import State
from rlmodule_core.nest import Nest, leaves, map_nest
from rlmodule_core.spaces import leaf_shape, nest_of_spaces
from rlmodule_specs.wording import safe_repr


class Head(NamedTuple):
    """A layer behind the encoder."""

    method: str  # of the catalog, which gave its config
    layer: Any
    size: int  # of what it must return


def built(config: Any, framework: str, *, method: str, where: str) -> Any:
    """Build the config that a catalog's method returned. Raises ValueError if it is none."""
    if isinstance(config, type) or not callable(getattr(config, "build", None)):
        raise ValueError(
            f"{where}: {method}() of its catalog must return a config with build(framework), got "
            f"{safe_repr(config)}"
        )
    layer = config.build(framework)
    if not callable(layer):
        raise ValueError(
            f"{where}: {method}(): build({framework!r}) of {type(config).__name__} must return a layer, "
            f"which is called with tensors, got {safe_repr(layer)}"
        )
    return layer


def example_batch(space: gym.Space[Any] | None, state: State, to_tensors: Callable[[Nest], Nest]) -> Any:
    """Return a batch of zeros; None if there is no space, or one whose samples are no arrays."""
    if space is None or any(leaf_shape(leaf) is None for leaf in leaves(nest_of_spaces(space))):
        return None
    return batch_of_zeros(space, state, to_tensors)


def batch_of_zeros(
    space: gym.Space[Any], state: State, to_tensors: Callable[[Nest], Nest]
) -> dict[str, Nest]:
    """Return a batch of one observation of zeros, `[1, ...]`, or `[1, 1, ...]` and a state with a memory.

    What is no array is as gymnasium has it empty.
    """
    obs = create_empty_array(space, n=1, fn=np.zeros)
    if not state:
        return {Columns.OBS: to_tensors(obs)}
    batched = {Columns.OBS: map_nest(_batched, obs), Columns.STATE_IN: map_nest(_batched, state)}
    return {name: to_tensors(column) for name, column in batched.items()}


def check_layers(
    encode: Callable[[], Any],
    by_head: Callable[[Any], Sequence[Any]],
    heads: Sequence[Head],
    *,
    where: str,
) -> None:
    """Call the encoder and every head once, and raise ValueError in words for all that does not fit.

    `encode` calls the encoder on one observation of zeros, `by_head` takes the features of each head from
    what that returned.
    """
    try:
        found = encode()
    except Exception as error:
        raise ValueError(
            f"{where}: its encoder was called once with an observation of zeros and failed: {_text(error)}"
        ) from error
    pairs = zip(by_head(found), heads, strict=True)
    problems = [told for features, head in pairs if (told := _misfit(features, head))]
    if problems:
        raise ValueError(f"{where}: {'; '.join(problems)}")


def _misfit(features: Any, head: Head) -> str | None:
    given = list(getattr(features, "shape", ()))
    try:
        shape = list(head.layer(features).shape)
    except Exception as error:
        return f"{head.method}(): its layer fails on what the encoder gives, {given}: {_text(error)}"
    expected = [*given[:-1], head.size]
    return (
        None if shape == expected else f"{head.method}(): expected a layer that gives {expected}, got {shape}"
    )


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _batched(array: Any) -> Any:
    return np.asarray(array)[None]
