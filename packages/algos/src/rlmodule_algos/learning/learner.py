"""One updater a module: epochs of minibatches over a batch of real steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Framework
from rlmodule_core import MultiAgentRLModule, RLModule
from rlmodule_core.nest import Nest, leaves, map_nest

LossFactory = Callable[[RLModule], Any]
"""module -> loss function of (minibatch, coefficients) that returns a named tuple, the loss first."""


@dataclass(frozen=True)
class OptimizerSettings:
    """How every module's optimizer is set up."""

    adam_epsilon: float
    grad_clip: float | None
    grad_clip_by: str


@dataclass
class UpdateResult:
    """The means over all minibatches of one update, and what was skipped."""

    means: dict[str, float] = field(default_factory=dict)
    num_skipped: int = 0  # steps whose gradient was not finite


class Learner:
    """Holds the modules that learn; each has its own optimizer, so none moves another."""

    def __init__(
        self,
        modules: MultiAgentRLModule,
        loss_factory: LossFactory,
        framework: Framework,
        settings: OptimizerSettings,
        *,
        seed: int | None,
    ) -> None:
        self.modules = modules
        self._framework = framework
        self._rng = np.random.default_rng(seed)
        self._updaters = {
            key: framework.make_updater(
                module,
                loss_factory(module),
                adam_epsilon=settings.adam_epsilon,
                grad_clip=settings.grad_clip,
                grad_clip_by=settings.grad_clip_by,
            )
            for key, module in modules.items()
        }

    def update(
        self,
        module_id: str,
        batch: Mapping[str, Nest],
        *,
        num_epochs: int,
        minibatch_size: int,
        coefficients: Mapping[str, float],
    ) -> UpdateResult:
        """Take one optimizer step a minibatch; every real step is used once an epoch.

        `batch` holds NumPy columns `[N, ...]`; `coefficients` has the learning rate `lr` and what the
        loss looks up. Minibatches differ in size by one at most, so that no
        step weighs more than another.
        """
        bridge, updater = self._framework.bridge, self._updaters[module_id]
        device = self.modules[module_id].device
        columns = {name: bridge.to_tensors(column, device) for name, column in batch.items()}
        size = len(leaves(next(iter(batch.values())))[0])
        results = []
        for _ in range(num_epochs):
            shuffled = bridge.take(columns, self._rng.permutation(size))
            for start, stop in _minibatches(size, minibatch_size):
                minibatch = {
                    name: map_nest(lambda column: column[start:stop], column)  # noqa: B023  # used at once
                    for name, column in shuffled.items()
                }
                results.append(updater.step(minibatch, coefficients))
        applied = [result for result in results if result.applied]
        names = [*results[0].loss._fields, "grad_norm"]
        if not applied:
            return UpdateResult(dict.fromkeys(names, float("nan")), num_skipped=len(results))
        means = bridge.mean_of([(*result.loss, result.grad_norm) for result in applied])
        return UpdateResult(dict(zip(names, means, strict=True)), len(results) - len(applied))

    def get_state(self) -> dict[str, Any]:
        """Return weights and optimizer states by module, and the generator that shuffles."""
        return {
            "modules": self.modules.get_state(),
            "optimizers": {key: updater.get_state() for key, updater in self._updaters.items()},
            "rng": self._rng.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned."""
        self.modules.set_state(state["modules"])
        for key, updater in self._updaters.items():
            updater.set_state(state["optimizers"][key])
        self._rng.bit_generator.state = state["rng"]


def _minibatches(size: int, minibatch_size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of as few near-equal parts as fit the size.

    >>> list(_minibatches(10, 4))
    [(0, 3), (3, 6), (6, 10)]
    """
    parts = max(1, -(-size // minibatch_size))
    edges: npt.NDArray[np.int64] = np.arange(parts + 1) * size // parts
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
