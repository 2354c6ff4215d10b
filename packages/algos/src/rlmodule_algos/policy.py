"""A module as a policy: NumPy in, NumPy out, with the three `compute_*` calls of older stacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Framework
from rlmodule_algos.policy_inputs import batch_of_samples, one_sample
from rlmodule_algos.sampling import Actor, CarriedState, Draw
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest

Array = npt.NDArray[Any]


class Computed(NamedTuple):
    """Actions as drawn (an environment's bounds are not applied), the state after them, and what else."""

    actions: Nest  # [B, ...]
    state_outs: Nest  # [B, ...]; {} of a stateless module
    extra: dict[str, Array]  # action_logp [B], and action_dist_inputs [B, n] where they are flat


class Policy:
    """Acts with a module, as its weights are at each call.

    Observations are those of the module's space, stacked: `[B, ...]`. A stateful module starts from its
    initial state where none is given. With `explore` actions are drawn from `forward_exploration`,
    without they are the most likely ones of `forward_inference`.

    Observations and actions that are not of the module's spaces, or hold NaN, are a ValueError that lists
    what is wrong with them.
    """

    def __init__(self, module: RLModule, *, seed: int | None = None) -> None:
        self.module = module
        self._bridge = Framework(module.framework).bridge
        self._rng = np.random.default_rng(seed)
        config = module.config
        self._observation_space = None if config is None else config.observation_space
        self._action_space = None if config is None else config.action_space

    def compute_actions(self, obs_batch: Nest, state_batches: Nest = None, explore: bool = True) -> Computed:
        """Return actions `[B, ...]` for observations `[B, ...]`."""
        obs = batch_of_samples("compute_actions", "obs", obs_batch, self._observation_space)
        return self._compute(obs, state_batches, explore)

    def _compute(self, obs: Nest, state_batches: Nest, explore: bool) -> Computed:
        draw = self._actor().act(obs, self._state(obs, state_batches), explore=explore)
        extra = {Columns.ACTION_LOGP: _logp(draw)}
        if draw.distribution is not None and isinstance(draw.distribution.inputs, np.ndarray):
            extra[Columns.ACTION_DIST_INPUTS] = np.array(draw.distribution.inputs)
        return Computed(draw.actions, {} if draw.state is None else map_nest(np.array, draw.state), extra)

    def compute_actions_from_input_dict(
        self, input_dict: Mapping[str, Nest], explore: bool = True
    ) -> Computed:
        """Return what `compute_actions` does, from the columns `obs` and, of a stateful module, `state_in`.

        Raises KeyError that lists the columns if there is no `obs`.
        """
        if Columns.OBS not in input_dict:
            raise KeyError(
                f"compute_actions_from_input_dict: no column {Columns.OBS!r}; it has {sorted(input_dict)}"
            )
        return self.compute_actions(input_dict[Columns.OBS], input_dict.get(Columns.STATE_IN), explore)

    def compute_single_action(self, obs: Nest, state: Nest = None, explore: bool = True) -> Computed:
        """Return what `compute_actions` does, for one observation: nothing has a batch axis."""
        one = one_sample("compute_single_action", "obs", obs, self._observation_space)
        actions, after, extra = self._compute(
            _stacked(one), None if state is None else _stacked(state), explore
        )
        return Computed(_first(actions), _first(after), {name: column[0] for name, column in extra.items()})

    def compute_log_likelihoods(
        self, actions: Nest, obs_batch: Nest, state_batches: Nest = None
    ) -> npt.NDArray[np.float32]:
        """Return the log-probs `[B]` of actions as `compute_actions(explore=True)` draws them."""
        where = "compute_log_likelihoods"
        obs = batch_of_samples(where, "obs", obs_batch, self._observation_space)
        rows = len(leaves(obs)[0])
        acted = batch_of_samples(where, "actions", actions, self._action_space, rows=rows)
        logp = self._actor().logp(acted, obs, self._state(obs, state_batches))
        return logp.astype(np.float32, copy=False)

    def _actor(self) -> Actor:
        return Actor(self.module, self._bridge, self._rng)

    def _state(self, obs: Nest, given: Nest) -> Nest:
        if given is not None and given != {}:
            return map_nest(np.asarray, given)
        return CarriedState(self.module, len(leaves(obs)[0])).now if self.module.is_stateful() else None


def _logp(draw: Draw) -> npt.NDArray[np.float32]:
    """The log-probs of a draw, `[B]`; 0 where the policy is deterministic: it does nothing else."""
    if draw.distribution is None:
        return np.asarray(draw.logp, np.float32)
    try:
        return np.asarray(draw.distribution.logp(draw.actions), np.float32)
    except NotImplementedError:
        return np.zeros(len(leaves(draw.actions)[0]), np.float32)


def _stacked(nest: Nest) -> Nest:
    return map_nest(lambda leaf: np.asarray(leaf)[None], nest)


def _first(nest: Nest) -> Nest:
    return map_nest(lambda leaf: leaf[0], nest)
