"""From action spaces to distributions, as data that no framework is needed for.

space                          kind               inputs for one value
Discrete                       Categorical        n logits
MultiDiscrete                  MultiCategorical   the logits of each component, one after the other
MultiBinary                    Bernoulli          a logit for each bit
Box of floats                  DiagGaussian       the means, then the log-stds
Box of floats, to squash       SquashedGaussian   the same, of what is squashed
Dict, Tuple, to any depth      MultiDistribution  those of the parts; a dict's in the order of its sorted keys
Box, by choice                 Deterministic      the value itself
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from rlmodule_core.frameworks import framework_module
from rlmodule_core.nest import Nest, leaves
from rlmodule_core.spaces import UnsupportedSpaceError

DistributionKind: TypeAlias = Literal[
    "Categorical",
    "MultiCategorical",
    "Bernoulli",
    "DiagGaussian",
    "SquashedGaussian",
    "MultiDistribution",
    "Deterministic",
]


@dataclass(frozen=True, kw_only=True)
class DistributionConfig:
    """Which distribution an action space has, and over which values."""

    kind: DistributionKind
    space: gym.Space[Any]
    input_dim: int
    parts: Nest = None  # of a MultiDistribution: the configs of its leaves, nested as the space is

    def build(self, framework: str) -> Any:
        """Return a function from `inputs` `[..., input_dim]` to a Distribution of the framework."""
        return framework_module(framework, "builder").build_distribution(self)


def distribution_config(space: gym.Space[Any] | None, *, squash: bool = False) -> DistributionConfig:
    """Choose the distribution of an action space; `squash` bounds every Box in it by a tanh.

    Raises UnsupportedSpaceError that names the part which has none, and ValueError if a Box to be
    squashed has an infinite bound.

    >>> nested = spaces.Dict({"turn": spaces.Discrete(3), "speed": spaces.Box(-1, 1, (2,))})
    >>> config = distribution_config(nested)
    >>> config.kind, config.input_dim, config.parts["speed"].kind
    ('MultiDistribution', 7, 'DiagGaussian')
    """
    parts = _parts(space, squash, path="")
    if isinstance(parts, DistributionConfig):
        return parts
    if space is None or not leaves(parts):
        raise _unsupported(space, path="")
    size = sum(part.input_dim for part in leaves(parts))
    return DistributionConfig(kind="MultiDistribution", space=space, input_dim=size, parts=parts)


def leaf_settings(kind: str, space: gym.Space[Any]) -> tuple[int, dict[str, Any]]:
    """Return the number of inputs, and what they leave open: the further arguments of the constructor.

    Raises ValueError where the kind has no distribution over the space.
    """
    match kind, space:
        case "Categorical", spaces.Discrete():
            return int(space.n), {"start": int(space.start)}
        case "MultiCategorical", spaces.MultiDiscrete():
            sizes, start = tuple(space.nvec.ravel().tolist()), tuple(space.start.ravel().tolist())
            return sum(sizes), {"sizes": sizes, "start": start, "event_shape": tuple(space.nvec.shape)}
        case "Bernoulli", spaces.MultiBinary():
            return math.prod(space.shape), {"event_shape": tuple(space.shape)}
        case "DiagGaussian", spaces.Box():
            return 2 * math.prod(space.shape), {"event_shape": tuple(space.shape)}
        case "SquashedGaussian", spaces.Box():
            return 2 * math.prod(space.shape), {**_bounds(space), "event_shape": tuple(space.shape)}
        case "Deterministic", spaces.Box():
            return math.prod(space.shape), {"event_shape": tuple(space.shape)}
    raise ValueError(f"{kind} is no distribution over the values of {space}")


def _parts(space: gym.Space[Any] | None, squash: bool, *, path: str) -> Nest:
    """Return the config of a leaf, or a nest of them."""
    match space:
        case spaces.Dict() if all(isinstance(key, str) for key in space.spaces):
            return {key: _parts(child, squash, path=f"{path}.{key}") for key, child in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_parts(child, squash, path=f"{path}[{i}]") for i, child in enumerate(space.spaces))
        case spaces.Discrete():
            kind: DistributionKind = "Categorical"
        case spaces.MultiDiscrete():
            kind = "MultiCategorical"
        case spaces.MultiBinary():
            kind = "Bernoulli"
        case spaces.Box() if space.dtype is not None and space.dtype.kind == "f":
            kind = "SquashedGaussian" if squash else "DiagGaussian"
        case _:
            raise _unsupported(space, path)
    try:
        size, _ = leaf_settings(kind, space)
    except ValueError as error:
        raise ValueError(f"action space{path}: {error}") from None
    if not size:
        raise _unsupported(space, path)
    return DistributionConfig(kind=kind, space=space, input_dim=size)


def _bounds(space: spaces.Box) -> dict[str, Any]:
    """Return low and high: one number each where all components have the same, else one a component."""
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(
            f"{space} cannot be squashed: it has an infinite bound; bound it (RescaleAction, say), or "
            "leave squash_actions at False"
        )
    if not (space.low < space.high).all():
        raise ValueError(f"{space} cannot be squashed: each component's low must be below its high")
    bounds = {"low": space.low.ravel().tolist(), "high": space.high.ravel().tolist()}
    if all(len(set(numbers)) == 1 for numbers in bounds.values()):
        return {name: numbers[0] for name, numbers in bounds.items()}
    return {name: tuple(numbers) for name, numbers in bounds.items()}


def _unsupported(space: object, path: str) -> UnsupportedSpaceError:
    return UnsupportedSpaceError(
        space,
        where=f"action space{path}",
        known="Discrete, MultiDiscrete, MultiBinary, Box of floats, and Dict (with keys of type str) and "
        "Tuple of these; none may be empty",
        fix="Override Catalog.get_action_dist_config and get_pi_head_config to bring your own",
    )
