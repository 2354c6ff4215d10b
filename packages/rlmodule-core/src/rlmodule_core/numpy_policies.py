"""Small policies of equal structure in one pass, each row of a batch with a policy of its own choice.

One policy after the other would spend longer on calls than on numbers. Here the weights of all lie in one
array a layer, `[M, inputs, outputs]`, and a layer is one product over the rows of all policies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rlmodule_core.columns import Columns
from rlmodule_core.module import RLModule
from rlmodule_core.numpy_distributions import NumpyDistribution
from rlmodule_core.numpy_layers import ACTIVATIONS, NumpyLayers, RunningNorm
from rlmodule_core.numpy_module import NumpyPolicy

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
SMALL = 2**15
"""Weights of a policy that spends longer on calls than on numbers: two layers of 128 units, say."""
PADDING = 16
"""Rows of padding that cost such a policy as much as a pass of its own; roughly."""


class NumpyPolicies:
    """`M` policies that `can_act_together`, with their weights as they are when this is made.

    These must not change while it acts: some are copied, others are not.
    """

    def __init__(self, policies: Sequence[NumpyPolicy]) -> None:
        first = policies[0]
        small = sum(layer.weight.size for layer in first.layers.layers) <= SMALL
        self._layers = _StackedLayers.of([policy.layers for policy in policies]) if small else None
        self._apart = [policy._forward for policy in policies]
        self._check = first._check_exploration
        self._make_distribution = first._make_distribution

    def action_dist(self, obs: Array, policy_of: IntArray) -> NumpyDistribution:
        """Return the distribution `[N]` for observations `[N, inputs]` and the number of each row's policy.

        Raises SpecError for what the policies themselves would not take.
        """
        self._check.input({Columns.OBS: obs})
        return self._make_distribution(self._forward(obs, policy_of))

    def _forward(self, obs: Array, policy_of: IntArray) -> Array:
        order = policy_of.argsort(kind="stable")  # by policy
        counts, layers = np.bincount(policy_of, minlength=len(self._apart)), self._layers
        rows, present = int(counts.max()), counts.nonzero()[0]
        if layers is None or rows * len(present) > 2 * len(obs) + PADDING * len(present):
            return self._one_by_one(obs, order, counts)
        if len(present) < len(counts):
            counts, layers = counts[present], layers.some(present)
        place = np.empty_like(order)  # of each row among `[policies, rows]`, of which the last may be padding
        place[order] = (np.arange(rows) < counts[:, None]).ravel().nonzero()[0]
        padded = np.zeros((len(counts) * rows, obs.shape[1]), np.float32)
        padded[place] = obs
        outputs = layers.forward(padded.reshape(len(counts), rows, -1))
        found: Array = outputs.reshape(len(padded), -1).take(place, axis=0)
        return found

    def _one_by_one(self, obs: Array, order: IntArray, counts: IntArray) -> Array:
        """For large policies, and where one has most of the rows, so that the others' were mostly padding."""
        parts = np.split(order, np.cumsum(counts)[:-1])
        found = [forward(obs[mine]) for forward, mine in zip(self._apart, parts, strict=True) if len(mine)]
        outputs = np.empty((len(obs), found[0].shape[1]), np.float32)
        outputs[order] = np.concatenate(found)
        return outputs


def can_act_together(one: RLModule, other: RLModule) -> bool:
    """Whether two modules are policies that differ in their weights alone."""
    return (
        type(one) is type(other) is NumpyPolicy
        and one.layers.structure == other.layers.structure
        and one._make_distribution == other._make_distribution
        and one._asked == other._asked
    )


class _StackedLayers(NamedTuple):
    """`NumpyLayers` of `M` policies."""

    weights: list[Array]  # [M, inputs, outputs] each
    biases: list[Array]  # [M, 1, outputs] each
    activations: list[Callable[[Array], Array]]
    constant: Array | None  # [M, 1, n]
    norm: tuple[Array, ...]  # mean, deviation and bound, [M, 1, inputs] each; or nothing

    @classmethod
    def of(cls, parts: Sequence[NumpyLayers]) -> _StackedLayers:
        layers = list(zip(*(part.layers for part in parts), strict=True))
        constants = [part.constant for part in parts if part.constant is not None]
        norms = [_numbers(part.norm) for part in parts if part.norm is not None]
        return cls(
            weights=[np.stack([layer.weight.T for layer in same]) for same in layers],
            biases=[np.stack([layer.bias for layer in same])[:, None] for same in layers],
            activations=[ACTIVATIONS[same[0].activation] for same in layers],
            constant=np.stack(constants)[:, None] if constants else None,
            norm=tuple(np.stack(column)[:, None] for column in zip(*norms, strict=True)),
        )

    def some(self, chosen: IntArray) -> _StackedLayers:
        """Return those of some policies."""
        return _StackedLayers(
            weights=[weight[chosen] for weight in self.weights],
            biases=[bias[chosen] for bias in self.biases],
            activations=self.activations,
            constant=None if self.constant is None else self.constant[chosen],
            norm=tuple(column[chosen] for column in self.norm),
        )

    def forward(self, x: Array) -> Array:
        """Return `[M, rows, outputs]` of `[M, rows, inputs]`, which may be written to."""
        if self.norm:
            mean, deviation, bound = self.norm
            x = np.clip((x - mean) / deviation, -bound, bound)
        for weight, bias, activation in zip(self.weights, self.biases, self.activations, strict=True):
            x = x @ weight
            x += bias
            x = activation(x)
        if self.constant is not None:
            beside = np.broadcast_to(self.constant, (*x.shape[:2], self.constant.shape[2]))
            x = np.concatenate([x, beside], axis=2)
        return x


def _numbers(norm: RunningNorm) -> tuple[Array, Array, Array]:
    """Return mean, deviation and bound; of one that counted nothing those that change nothing."""
    if not norm.count:
        zeros = np.zeros_like(norm.mean)
        return zeros, zeros + 1, zeros + np.inf
    return norm.mean, norm.deviation, np.full_like(norm.mean, norm.clip)
