"""A module as a function from observations to actions, NumPy in and out.

Actions are drawn in NumPy with the sampler's own generator wherever the distribution has a NumPy
form, so both frameworks draw the same actions, and no distribution object of a framework is made
for each step. A small dense module acts in NumPy altogether, over the memory of its own weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Bridge
from rlmodule_core import Columns, Distribution, NumpyDistribution, RLModule, numpy_bridge
from rlmodule_core.nest import Nest, leaves, map_nest

Array = npt.NDArray[Any]


class Draw(NamedTuple):
    """Actions, and what their log-probs come from: the parameters, or the log-probs themselves."""

    actions: Nest  # [B, ...], nested as the action space is
    distribution: NumpyDistribution | None
    logp: Array | None  # given exactly where `distribution` is not
    state: Nest = None  # [B, ...] after the step, of a stateful module


class Actor:
    """Acts with a module as its weights are when this is made or later, if they share memory."""

    def __init__(self, module: RLModule, bridge: Bridge, rng: np.random.Generator) -> None:
        numpy_form = module.numpy_form()
        self._module = module if numpy_form is None else numpy_form
        self._bridge = bridge if numpy_form is None and module.framework != "numpy" else numpy_bridge
        self._device = self._module.device
        self._rng = rng
        self.is_stateful = module.is_stateful()

    def act(self, obs: Nest, state: Nest = None, *, explore: bool) -> Draw:
        """Return actions for observations `[B, ...]`: drawn, or the most likely ones.

        A stateful module needs the state `[B, ...]`.
        """
        phase = "forward_exploration" if explore else "forward_inference"
        distribution, after = self._policy(phase, obs, state)
        flat = distribution.to_numpy()
        if isinstance(flat, NumpyDistribution):
            if self.is_stateful:
                flat = flat.with_inputs(map_nest(_without_time, flat.inputs))
            actions = flat.sample(self._rng) if explore else flat.to_deterministic().sample()
            return Draw(actions, flat, None, after)
        drawn = distribution.sample() if explore else distribution.to_deterministic().sample()
        actions, logp = self._bridge.to_numpy(drawn), self._bridge.to_numpy(distribution.logp(drawn))
        if self.is_stateful:
            actions, logp = map_nest(_without_time, actions), _without_time(logp)
        require_one_logp_each(self._module, phase, logp.shape, leaves(actions)[0].shape[:1])
        return Draw(actions, None, logp, after)

    def logp(self, actions: Nest, obs: Nest, state: Nest = None) -> Array:
        """Return the log-probs `[B]` of actions as exploring would draw them."""
        phase = "forward_exploration"
        distribution, _ = self._policy(phase, obs, state)
        if self.is_stateful:
            actions = map_nest(lambda leaf: leaf[:, None], actions)
        logp: Array = self._bridge.to_numpy(distribution.logp(self._bridge.to_tensors(actions, self._device)))
        logp = _without_time(logp) if self.is_stateful else logp
        require_one_logp_each(self._module, phase, logp.shape, leaves(actions)[0].shape[:1])
        return logp

    def _policy(self, phase: str, obs: Nest, state: Nest) -> tuple[Distribution[Any], Nest]:
        """Return the action distribution, and the state after the step."""
        columns: dict[str, Nest] = {Columns.OBS: obs}
        if self.is_stateful:  # which sees time: one step of it
            columns = {
                Columns.OBS: map_nest(lambda leaf: leaf[:, None], obs),
                Columns.STATE_IN: state,
                Columns.MASK: np.ones((len(leaves(obs)[0]), 1), np.bool_),
            }
        batch = {name: self._bridge.to_tensors(column, self._device) for name, column in columns.items()}
        output = self._bridge.call(self._module, phase, batch)
        after = self._bridge.to_numpy(output[Columns.STATE_OUT]) if self.is_stateful else None
        return self._bridge.as_distribution(output[Columns.ACTION_DIST]), after


def require_one_logp_each(
    module: RLModule, phase: str, found: Sequence[int | None], expected: Sequence[int | None]
) -> None:
    """Raise ValueError unless log-probs of actions have this shape: a graph may not know a size yet."""
    if len(found) != len(expected) or any(
        size != wanted and None not in (size, wanted) for size, wanted in zip(found, expected, strict=True)
    ):
        raise ValueError(
            f"{type(module).__name__}.{phase}: action_dist gives log-probs of shape {list(found)}, expected "
            f"{list(expected)}, one for each action; wrap a distribution over single components, in "
            "torch.distributions.Independent, say"
        )


def _without_time(array: Array) -> Array:
    """`[B, 1, ...]` -> `[B, ...]`."""
    return array[:, 0]
