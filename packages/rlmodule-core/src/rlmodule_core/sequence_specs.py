"""What the batch of a module with a memory must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlmodule_core.columns import Columns
from rlmodule_core.nest import Nest
from rlmodule_specs import SpecType, TensorSpec


def with_state_in(specs: SpecType, state: Nest, framework: str) -> SpecType:
    """Return input specs whose observations are `[B, T, ...]`, with a `state_in` like `state` beside them.

    `state` has no batch axis, as `get_initial_state` gives it. Specs that are no mapping become one.

    >>> import numpy as np
    >>> with_state_in({"obs": TensorSpec("..., 4")}, {"h": np.zeros(8)}, "torch")
    {'obs': TensorSpec('b, t, 4'), 'state_in': {'h': TensorSpec('b, 8', framework='torch')}}
    """
    obs = specs if isinstance(specs, Mapping) else {Columns.OBS: None}
    return {**_sequences(obs), Columns.STATE_IN: _state_specs(state, framework)}


def _sequences(specs: Any) -> Any:
    if isinstance(specs, Mapping):
        return {key: _sequences(part) for key, part in specs.items()}
    if isinstance(specs, TensorSpec) and specs.axes[:1] == ("...",):
        return specs.with_axes(("b", "t", *specs.axes[1:]))
    return specs


def _state_specs(state: Nest, framework: str) -> Any:
    if isinstance(state, Mapping):
        return {key: _state_specs(part, framework) for key, part in state.items()}
    return TensorSpec(", ".join(["b", *map(str, state.shape)]), framework=framework)
