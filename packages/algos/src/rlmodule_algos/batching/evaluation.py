"""What a module as it is now says of a fragment: values and log-probs, in one pass without gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching.fragment import Fragment
from rlmodule_algos.batching.sequences import SequenceIndex, sequence_index
from rlmodule_algos.frameworks import Bridge
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest, map_nest
from rlmodule_specs import Checker, TensorSpec

FloatArray = npt.NDArray[np.float32]


@cache
def actor_critic_output(framework: str, stateful: bool) -> Checker:
    """Return the check of what forward_train must give an actor-critic: values `[N]` or `[B, T]`."""
    shape = "b, t" if stateful else "n"
    return Checker({Columns.ACTION_DIST: None, Columns.VF_PREDS: TensorSpec(shape, framework=framework)})


@dataclass(frozen=True)
class Evaluation:
    """What the module says of each step; anything on padding."""

    values: FloatArray  # [T, B] V(s_t)
    next_values: FloatArray  # [T, B] V(s_t+1) of the true successor; anything where terminated
    logp: FloatArray  # [T, B]
    dist_inputs: FloatArray | None  # [T, B, n]; None if the distribution has no flat parameters
    index: SequenceIndex | None = None  # of a stateful module


def evaluate_fragment(fragment: Fragment, module: RLModule, bridge: Bridge) -> Evaluation:
    """Run the module once over all observations of the fragment, without gradient."""
    with bridge.no_grad():
        if fragment.sequences is None:
            return _evaluate_steps(fragment, module, bridge)
        return _evaluate_sequences(fragment, sequence_index(fragment), module, bridge)


def _evaluate_steps(fragment: Fragment, module: RLModule, bridge: Bridge) -> Evaluation:
    steps, rows = fragment.rewards.shape
    shape = (steps + 1, rows)  # what follows the last step is evaluated with the rest
    # one action more, that of the last step again, so that actions and parameters have one length
    acted = map_nest(lambda array: np.concatenate([array, array[-1:]]), fragment.actions)
    values, logp, inputs = _pass(
        {Columns.OBS: map_nest(_merged, fragment.obs)}, map_nest(_merged, acted), module, bridge
    )
    values = values.reshape(shape)
    return Evaluation(
        values[:-1],
        _next_values(fragment, values, module, bridge),
        logp.reshape(shape)[:-1],
        None if inputs is None else inputs.reshape(*shape, -1)[:-1],
    )


def _next_values(fragment: Fragment, values: FloatArray, module: RLModule, bridge: Bridge) -> FloatArray:
    """V(s_t+1) is in `values` `[T + 1, B]` already; evaluate only what follows a truncation."""
    next_values = values[1:].copy()
    at_time, at_row = fragment.final_index.T
    cut = _bootstraps(fragment)
    if cut.any():
        final = map_nest(lambda array: array[cut], fragment.final_obs)
        output = bridge.call(module, "forward_train", {Columns.OBS: bridge.to_tensors(final, module.device)})
        next_values[at_time[cut], at_row[cut]] = bridge.to_numpy(output[Columns.VF_PREDS])
    return next_values


def _evaluate_sequences(
    fragment: Fragment, index: SequenceIndex, module: RLModule, bridge: Bridge
) -> Evaluation:
    """Each sequence gets one step more, its successor, so that V(s_t+1) has the state after the last step."""
    shape = fragment.rewards.shape
    count, longest = index.time.shape
    sequences = np.arange(count)
    time = np.concatenate([index.time, index.time[:, :1]], axis=1)
    time[sequences, index.lengths] = index.time[sequences, index.lengths - 1] + 1
    obs = map_nest(lambda array: array[time, index.row], fragment.obs)
    # who terminated may have shown nothing, so what follows in the row stands in for it
    ended = np.flatnonzero((index.final >= 0) & np.append(_bootstraps(fragment), False)[index.final])

    def with_final(array: npt.NDArray[Any], final: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array[ended, index.lengths[ended]] = final[index.final[ended]]
        return array

    starts = fragment.sequences
    batch = {
        Columns.OBS: map_nest(with_final, obs, fragment.final_obs),
        Columns.STATE_IN: None if starts is None else starts.state,
        Columns.MASK: np.arange(longest + 1) <= index.lengths[:, None],
    }
    actions = index.gather(fragment.actions)
    acted = map_nest(lambda array: np.concatenate([array, array[:, -1:]], axis=1), actions)
    values, logp, inputs = _pass(batch, acted, module, bridge)
    following = values[:, 1:]
    return Evaluation(
        index.scatter(values[:, :-1], shape),
        index.scatter(following, shape),
        index.scatter(logp[:, :-1], shape),
        None if inputs is None else index.scatter(inputs[:, :-1], shape),
        index,
    )


def _bootstraps(fragment: Fragment) -> npt.NDArray[np.bool_]:
    """Whether the value of what followed counts, for each of the K ends: it was cut, not terminated."""
    at_time, at_row = fragment.final_index.T
    cut: npt.NDArray[np.bool_] = (fragment.truncated & ~fragment.terminated)[at_time, at_row]
    return cut


def _pass(
    batch: Mapping[str, Nest], actions: Nest, module: RLModule, bridge: Bridge
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    """Return values and log-probs of a batch, and the parameters of the distributions if they are flat."""
    tensors = {name: bridge.to_tensors(column, module.device) for name, column in batch.items()}
    output = bridge.call(module, "forward_train", tensors)
    where = f"{type(module).__name__}.forward_train, output"
    actor_critic_output(module.framework, module.is_stateful()).check(output, where=where)
    distribution = bridge.as_distribution(output[Columns.ACTION_DIST])
    logp = bridge.to_numpy(distribution.logp(bridge.to_tensors(actions, module.device)))
    flat = distribution.to_numpy()
    return bridge.to_numpy(output[Columns.VF_PREDS]), logp, None if flat is None else flat.inputs


def _merged(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`[T, B, ...]` -> `[T * B, ...]`, a view."""
    return array.reshape(-1, *array.shape[2:])
