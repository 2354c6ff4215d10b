"""Fragment -> batch of real steps with advantages and value targets.

Values and log-probs of the whole fragment come from one batched pass, none from acting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching.fragment import Fragment
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.returns import gae
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest, map_nest
from rlmodule_specs import Checker, TensorSpec

FloatArray = npt.NDArray[np.float32]


@cache
def actor_critic_output(framework: str) -> Checker:
    """Return the check of what forward_train must give an actor-critic algorithm: values are `[N]`."""
    return Checker({Columns.ACTION_DIST: None, Columns.VF_PREDS: TensorSpec("n", framework=framework)})


@dataclass(frozen=True)
class Evaluation:
    """What the module as it is now says of a fragment."""

    values: FloatArray  # [T, B] V(s_t)
    next_values: FloatArray  # [T, B] V(s_t+1) of the true successor; anything where terminated
    logp: FloatArray  # [T, B]
    dist_inputs: FloatArray | None  # [T, B, n]; None if the distribution has no flat parameters


def evaluate_fragment(fragment: Fragment, module: RLModule, bridge: Bridge) -> Evaluation:
    """Run the module once over all observations of the fragment, without gradient."""
    steps, rows = fragment.rewards.shape
    shape = (steps + 1, rows)  # what follows the last step is evaluated with the rest
    with bridge.no_grad():
        output = module.forward_train({Columns.OBS: bridge.to_tensors(_merge(fragment.obs), module.device)})
        where = f"{type(module).__name__}.forward_train, output"
        actor_critic_output(module.framework).check(output, where=where)
        distribution = bridge.as_distribution(output[Columns.ACTION_DIST])
        # one action more, that of the last step again, so that actions and parameters have one length
        acted = map_nest(lambda array: np.concatenate([array, array[-1:]]), fragment.actions)
        actions = bridge.to_tensors(_merge(acted), module.device)
        values = bridge.to_numpy(output[Columns.VF_PREDS]).reshape(shape)
        logp = bridge.to_numpy(distribution.logp(actions)).reshape(shape)[:-1]
        flat = distribution.to_numpy()
        inputs = None if flat is None else flat.inputs.reshape(*shape, -1)[:-1]
        next_values = _next_values(fragment, values, module, bridge)
    return Evaluation(values[:-1], next_values, logp, inputs)


def _next_values(fragment: Fragment, values: FloatArray, module: RLModule, bridge: Bridge) -> FloatArray:
    """V(s_t+1) is in `values` `[T + 1, B]` already; evaluate only what follows a truncation."""
    next_values = values[1:].copy()
    at_time, at_row = fragment.final_index.T
    cut = fragment.truncated[at_time, at_row]
    if cut.any():
        final = map_nest(lambda array: array[cut], fragment.final_obs)
        output = module.forward_train({Columns.OBS: bridge.to_tensors(final, module.device)})
        next_values[at_time[cut], at_row[cut]] = bridge.to_numpy(output[Columns.VF_PREDS])
    return next_values


def advantage_batch(
    fragment: Fragment,
    evaluation: Evaluation,
    *,
    gamma: float,
    lambda_: float,
) -> dict[str, Nest]:
    """Return the real steps, `[N, ...]` each, with what a policy-gradient loss needs.

    The value targets are `A_t + V(s_t)`; the advantages are as they come, not standardised.
    """
    advantages = gae(
        fragment.rewards,
        evaluation.values,
        evaluation.next_values,
        fragment.terminated,
        fragment.terminated | fragment.truncated,
        fragment.mask if fragment.padded else None,
        gamma=gamma,
        lambda_=lambda_,
    )
    real = fragment.real
    flat = real(advantages).astype(np.float32)
    batch: dict[str, Nest] = {
        Columns.OBS: real(map_nest(lambda array: array[:-1], fragment.obs)),
        Columns.ACTIONS: real(fragment.actions),
        Columns.ACTION_LOGP: real(evaluation.logp),
        Columns.VF_PREDS: real(evaluation.values),
        Columns.ADVANTAGES: flat,
        Columns.VALUE_TARGETS: flat + real(evaluation.values),
    }
    if evaluation.dist_inputs is not None:
        batch[Columns.ACTION_DIST_INPUTS] = real(evaluation.dist_inputs)
    return batch


def join_batches(batches: Sequence[dict[str, Nest]]) -> dict[str, Nest]:
    """Return the rows of all batches, one after the other; a single batch comes back as it is."""
    if len(batches) == 1:
        return batches[0]
    return {
        name: map_nest(lambda *parts: np.concatenate(parts), *(batch[name] for batch in batches))
        for name in batches[0]
    }


def _merge(column: Nest) -> Nest:
    """`[T, B, ...]` -> `[T * B, ...]`, a view."""
    return map_nest(lambda array: array.reshape(-1, *array.shape[2:]), column)
