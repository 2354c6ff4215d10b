"""One learner whose gradients others compute, each on its part of every minibatch.

The weights, the optimizers and the normalisers are here alone. Those who compute get the weights with
every question and keep nothing that matters, so one that is lost is replaced, and what is saved does not
tell how many there were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Framework, Updater
from rlmodule_algos.learning.learner import (
    IntArray,
    Learner,
    LossFactory,
    OptimizerSettings,
    even_parts,
)
from rlmodule_core import MultiAgentRLModule, SingleAgentRLModuleSpec
from rlmodule_core.module import State
from rlmodule_core.multi_agent import OWN
from rlmodule_core.nest import Nest
from rlmodule_core.state import flatten_state

FlatArray = npt.NDArray[Any]


class Added(NamedTuple):
    """A module that joined during the run."""

    number: int  # differs for two modules that had the same id in turn
    spec: SingleAgentRLModuleSpec | None


@dataclass(frozen=True)
class Lesson:
    """What one update learns from: the rows, and the module that learns, as it is before the first step."""

    module_id: str
    added: Added | None  # of one that joined
    state: State  # {module id: state}, with what belongs to all modules
    batch: Mapping[str, Nest]  # NumPy columns [N, ...]


class Gradient(NamedTuple):
    """What one learner found on its rows."""

    loss: Any  # the named tuple that the loss function returned, as NumPy scalars
    flat: FlatArray  # [P]


class Gradients(Protocol):
    """Those who compute."""

    num_learners: int
    num_restarts: int

    def begin(self, lesson: Lesson) -> None:
        """Let what follows be about this lesson."""

    def compute(
        self, parts: Sequence[IntArray], weights: FlatArray, coefficients: Mapping[str, float]
    ) -> list[Gradient]:
        """Return the gradient on each part, which is row numbers; at most one part a learner."""

    def state(self, weights: FlatArray) -> State:
        """Return the module of the lesson with these weights, and what else the first learner made of it."""

    def close(self) -> None:
        """Release them; calling it again does nothing."""


class JointStep(NamedTuple):
    """What one step on a whole minibatch did."""

    loss: Any
    grad_norm: Any
    applied: bool


class ParallelLearner(Learner):
    """Takes the steps that a `Learner` takes on the same minibatches, up to rounding."""

    def __init__(
        self,
        modules: MultiAgentRLModule,
        loss_factory: LossFactory,
        framework: Framework,
        settings: OptimizerSettings,
        gradients: Gradients,
        *,
        trained: Collection[str] | None = None,
        seed: int | None,
    ) -> None:
        self._gradients = gradients
        self._added: dict[str, Added] = {}
        self._num_added = 0
        super().__init__(modules, loss_factory, framework, settings, trained=trained, seed=seed)

    def add(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> None:
        """Make an optimizer for a module that joins; see `Learner.add`."""
        super().add(module_id, module_spec)
        self._num_added += 1
        self._added[module_id] = Added(self._num_added, module_spec)

    def remove(self, module_id: str) -> None:
        """Forget a module's optimizer, if it has one."""
        super().remove(module_id)
        self._added.pop(module_id, None)

    def health(self) -> dict[str, int]:
        """Return how often one of those who compute was replaced."""
        return {"num_learner_restarts": self._gradients.num_restarts}

    def close(self) -> None:
        """Release those who compute."""
        self._gradients.close()

    def _steps(
        self,
        module_id: str,
        batch: Mapping[str, Nest],
        num_epochs: int,
        minibatch_size: int,
        steps: IntArray,
        coefficients: Mapping[str, float],
    ) -> Iterator[JointStep]:
        updater, states = self._updaters[module_id], self.modules.get_state()
        needed = {key: state for key, state in states.items() if key in (module_id, OWN)}
        self._gradients.begin(Lesson(module_id, self._added.get(module_id), needed, batch))
        for order, edges in self._epochs(module_id, num_epochs, minibatch_size, steps):
            for start, stop in edges:
                yield self._step(updater, order[start:stop], steps, coefficients)

    def _finish(self, module_id: str) -> None:
        """Take over what forwards change beside the weights, such as a layer's running means."""
        module, weights = self.modules[module_id], self._updaters[module_id].get_weights()
        if sum(array.size for array in flatten_state(module.get_state()).values()) > weights.size:
            module.set_state(self._gradients.state(weights))

    def _step(
        self, updater: Updater, rows: IntArray, steps: IntArray, coefficients: Mapping[str, float]
    ) -> JointStep:
        """Take one step with the mean over all steps of the minibatch: every loss is such a mean."""
        edges = even_parts(steps[rows], self._gradients.num_learners)
        parts = [rows[start:stop] for start, stop in edges]
        found = self._gradients.compute(parts, updater.get_weights(), coefficients)
        counts = np.array([steps[part].sum() for part in parts], np.float64)
        shares = counts / counts.sum()
        losses = np.array([list(map(float, one.loss)) for one in found])
        with np.errstate(invalid="ignore", over="ignore"):  # the updater refuses what is not finite
            joint: FlatArray = np.sum(
                [float(share) * one.flat for share, one in zip(shares, found, strict=True)], axis=0
            )
        norm, applied = updater.apply(joint, coefficients["lr"])
        return JointStep(type(found[0].loss)(*(shares @ losses).tolist()), float(norm), applied)

    def _means(self, scalars: list[tuple[Any, ...]]) -> list[float]:
        means: list[float] = np.mean(scalars, axis=0).tolist()
        return means
