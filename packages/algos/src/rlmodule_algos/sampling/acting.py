"""A module as a function from observations to actions, NumPy in and out.

Actions are drawn in NumPy with the sampler's own generator wherever the distribution has a NumPy
form, so both frameworks draw the same actions, and no distribution object of a framework is made
for each step. A small dense module acts in NumPy altogether, over the memory of its own weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Bridge
from rlmodule_core import Columns, NumpyDistribution, RLModule, numpy_bridge
from rlmodule_core.nest import Nest, leaves

Array = npt.NDArray[Any]


class Draw(NamedTuple):
    """Actions, and what their log-probs come from: the parameters, or the log-probs themselves."""

    actions: Nest  # [B, ...], nested as the action space is
    distribution: NumpyDistribution | None
    logp: Array | None  # given exactly where `distribution` is not


class Actor:
    """Acts with a module as its weights are when this is made or later, if they share memory."""

    def __init__(self, module: RLModule, bridge: Bridge, rng: np.random.Generator) -> None:
        numpy_form = module.numpy_form()
        self._module = module if numpy_form is None else numpy_form
        self._bridge = bridge if numpy_form is None and module.framework != "numpy" else numpy_bridge
        self._device = self._module.device
        self._rng = rng

    def explore(self, obs: Nest) -> Draw:
        """Draw actions for observations `[B, ...]`."""
        batch = {Columns.OBS: self._bridge.to_tensors(obs, self._device)}
        output = self._module.forward_exploration(batch)
        distribution = self._bridge.as_distribution(output[Columns.ACTION_DIST])
        flat = distribution.to_numpy()
        if isinstance(flat, NumpyDistribution):
            return Draw(flat.sample(self._rng), flat, None)
        drawn = distribution.sample()
        actions = self._bridge.to_numpy(drawn)
        logp = self._bridge.to_numpy(distribution.logp(drawn))
        rows = leaves(actions)[0].shape[:1]
        if logp.shape != rows:
            raise ValueError(
                f"{type(self._module).__name__}.forward_exploration: action_dist gives log-probs of shape "
                f"{list(logp.shape)}, expected {list(rows)}, one for each action; wrap a "
                "distribution over single components, in torch.distributions.Independent, say"
            )
        return Draw(actions, None, logp)

    def exploit(self, obs: Nest) -> Nest:
        """Return the most likely actions for observations `[B, ...]`."""
        batch = {Columns.OBS: self._bridge.to_tensors(obs, self._device)}
        output = self._module.forward_inference(batch)
        distribution = self._bridge.as_distribution(output[Columns.ACTION_DIST])
        return self._bridge.to_numpy(distribution.to_deterministic().sample())
