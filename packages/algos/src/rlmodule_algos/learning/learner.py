"""One updater a module: epochs of minibatches over a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Framework, Updater
from rlmodule_algos.learning.finite import SkippedInARow, not_finite_in
from rlmodule_core import MultiAgentRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest, leaves, map_nest

IntArray = npt.NDArray[np.int64]
LossFactory = Callable[[RLModule], Any]
"""module -> loss function of (minibatch, coefficients) that returns a named tuple, the loss first."""


@dataclass(frozen=True)
class OptimizerSettings:
    """How every module's optimizer is set up."""

    adam_epsilon: float
    grad_clip: float | None
    grad_clip_by: str


@dataclass(frozen=True)
class Limit:
    """Stops an update at the first minibatch whose `name`, a field of the loss, is above `most`."""

    name: str
    most: float

    def exceeded(self, loss: Any) -> bool:
        """Whether a step's loss went too far."""
        return float(getattr(loss, self.name)) > self.most


@dataclass
class UpdateResult:
    """The means over all minibatches of one update, and what was skipped."""

    means: dict[str, float] = field(default_factory=dict)
    num_steps: int = 0  # optimizer steps that were applied
    num_skipped: int = 0  # those whose gradient was not finite


class Learner:
    """Holds the modules that learn; each has its own optimizer, so none moves another."""

    def __init__(
        self,
        modules: MultiAgentRLModule,
        loss_factory: LossFactory,
        framework: Framework,
        settings: OptimizerSettings,
        *,
        trained: Collection[str] | None = None,
        seed: int | None,
    ) -> None:
        self.modules = modules
        self._loss_factory = loss_factory
        self._framework = framework
        self._settings = settings
        self._seed = seed
        self._updaters: dict[str, Updater] = {}
        self._rngs: dict[str, np.random.Generator] = {}  # what shuffles a module's rows, and no other's
        self._skipped: dict[str, SkippedInARow] = {}
        for module_id in modules if trained is None else trained:
            self._make_updater(module_id)

    @property
    def trained(self) -> tuple[str, ...]:
        """The ids of the modules that learn."""
        return tuple(self._updaters)

    def add(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> None:
        """Make an optimizer for a module. Raises ValueError if it has nothing to train.

        `module_spec` is what the module that joins was built from.
        """
        self._make_updater(module_id)

    def _make_updater(self, module_id: str) -> None:
        settings, module = self._settings, self.modules[module_id]
        self._updaters[module_id] = self._framework.make_updater(
            module,
            self._loss_factory(module),
            adam_epsilon=settings.adam_epsilon,
            grad_clip=settings.grad_clip,
            grad_clip_by=settings.grad_clip_by,
        )
        self._rngs[module_id] = np.random.default_rng(self._seed)
        self._skipped[module_id] = SkippedInARow()

    def remove(self, module_id: str) -> None:
        """Forget a module's optimizer, if it has one."""
        self._updaters.pop(module_id, None)
        self._rngs.pop(module_id, None)
        self._skipped.pop(module_id, None)

    def update(
        self,
        module_id: str,
        batch: Mapping[str, Nest],
        *,
        num_epochs: int,
        minibatch_size: int,
        coefficients: Mapping[str, float],
        steps: IntArray | None = None,
        limit: Limit | None = None,
    ) -> UpdateResult:
        """Take one optimizer step a minibatch; every row is used once an epoch.

        `batch` holds NumPy columns `[N, ...]`; `coefficients` has the learning rate `lr` and what the
        loss looks up. `minibatch_size` counts steps: `steps` `[N]` says how many each row holds (None:
        one). Minibatches hold as nearly equal numbers of steps as whole rows allow, so that no step weighs
        more than another. An exceeded `limit` ends the update. Without rows nothing happens.

        A step whose gradient is not finite is not taken. Raises LearnerError, which says what was not finite
        first, once no step of the module could be taken on `MAX_SKIPPED_IN_A_ROW` batches in a row.
        """
        if steps is None:
            steps = np.ones(len(leaves(next(iter(batch.values())))[0]), np.int64)
        results = []
        for result in self._steps(module_id, batch, num_epochs, minibatch_size, steps, coefficients):
            results.append(result)
            if limit is not None and limit.exceeded(result.loss):
                break
        self._finish(module_id)
        self._count_skipped(module_id, batch, results)
        return self._summary(results)

    def health(self) -> dict[str, int]:
        """Return what `fault_tolerance/` of a result tells of learners: nothing of the one that is here."""
        return {}

    def close(self) -> None:
        """Release what learns elsewhere; calling it again does nothing."""

    def _steps(
        self,
        module_id: str,
        batch: Mapping[str, Nest],
        num_epochs: int,
        minibatch_size: int,
        steps: IntArray,
        coefficients: Mapping[str, float],
    ) -> Iterator[Any]:
        """Yield what each step did, as soon as it was taken."""
        updater, bridge = self._updaters[module_id], self._framework.bridge
        device = self.modules[module_id].device
        columns = {name: bridge.to_tensors(column, device) for name, column in batch.items()}
        for order, edges in self._epochs(module_id, num_epochs, minibatch_size, steps):
            shuffled = bridge.take(columns, order)
            for start, stop in edges:
                minibatch = {
                    name: map_nest(lambda column: column[start:stop], column)  # noqa: B023  # used at once
                    for name, column in shuffled.items()
                }
                yield updater.step(minibatch, coefficients)

    def _count_skipped(self, module_id: str, batch: Mapping[str, Nest], results: list[Any]) -> None:
        skipped = self._skipped[module_id]
        if any(result.applied for result in results):
            skipped.start_over()
        elif results:
            skipped.add(module_id, self._not_finite_weights(module_id), batch, results[0].loss)

    def _not_finite_weights(self, module_id: str) -> list[str]:
        updater = self._updaters.get(module_id)
        trained = np.empty(0) if updater is None else updater.get_weights()
        return not_finite_in(self.modules[module_id].get_state(), trained)

    def not_finite(self) -> list[str]:
        """Return which weights of all modules are not finite, and what they hold."""
        return [
            f"module {module_id!r}: {found}"
            for module_id in self.modules
            for found in self._not_finite_weights(module_id)
        ]

    def _finish(self, module_id: str) -> None:
        """Do what is due after the last step."""

    def _epochs(
        self, module_id: str, num_epochs: int, minibatch_size: int, steps: IntArray
    ) -> Iterator[tuple[IntArray, list[tuple[int, int]]]]:
        """Yield the order of the rows in each epoch, and where in it each minibatch starts and stops."""
        for _ in range(num_epochs):
            order = self._rngs[module_id].permutation(len(steps))
            yield order, list(minibatches(steps[order], minibatch_size))

    def _summary(self, results: list[Any]) -> UpdateResult:
        if not results:
            return UpdateResult()
        applied = [result for result in results if result.applied]
        names = [*results[0].loss._fields, "grad_norm"]
        if not applied:
            return UpdateResult(dict.fromkeys(names, float("nan")), num_skipped=len(results))
        means = self._means([(*result.loss, result.grad_norm) for result in applied])
        return UpdateResult(dict(zip(names, means, strict=True)), len(applied), len(results) - len(applied))

    def _means(self, scalars: list[tuple[Any, ...]]) -> list[float]:
        return self._framework.bridge.mean_of(scalars)

    def get_state(self) -> dict[str, Any]:
        """Return weights and optimizer states by module, and the generators that shuffle."""
        return {
            "modules": self.modules.get_state(),
            "optimizers": {key: updater.get_state() for key, updater in self._updaters.items()},
            "rngs": {key: rng.bit_generator.state for key, rng in self._rngs.items()},
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; modules that are not in it stay as they are."""
        self.modules.set_state(state["modules"])
        for key in [key for key in self._updaters if key in state["modules"]]:
            self._updaters[key].set_state(state["optimizers"][key])
            self._rngs[key].bit_generator.state = state["rngs"][key]
            self._skipped[key].start_over()


def minibatches(steps: IntArray, minibatch_size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of as few parts of near-equal numbers of steps as fit the size; none is empty.

    Each edge is the one between rows that is nearest to where an even share ends.

    >>> list(minibatches(np.ones(10, np.int64), 4))
    [(0, 3), (3, 6), (6, 10)]
    >>> list(minibatches(np.array([3, 5]), 4))
    [(0, 1), (1, 2)]
    """
    if len(steps):
        yield from even_parts(steps, -(-int(steps.sum()) // minibatch_size))


def even_parts(steps: IntArray, most: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of at most `most` parts of near-equal numbers of steps; none is empty.

    >>> list(even_parts(np.array([3, 1, 1, 1, 2]), 2))
    [(0, 2), (2, 5)]
    """
    between = np.concatenate([[0], steps.cumsum()])  # steps before each edge between rows
    parts = min(max(1, most), len(steps))
    wanted = np.arange(1, parts) * int(between[-1]) // parts
    after = np.searchsorted(between, wanted)
    before = np.maximum(after - 1, 0)
    nearest = np.where(wanted - between[before] < between[after] - wanted, before, after)
    edges = [0, *nearest.tolist(), len(steps)]
    yield from ((start, stop) for start, stop in pairwise(edges) if start < stop)
