"""What runs where a learner is: a copy of the modules, which computes gradients and keeps nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from rlmodule_algos.frameworks import Framework, Updater
from rlmodule_algos.learning import Added, Gradient, Lesson
from rlmodule_algos.learning.data_parallel import FlatArray
from rlmodule_algos.learning.learner import IntArray
from rlmodule_core import MultiAgentRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.module import State
from rlmodule_core.nest import map_nest


class Learning(Protocol):
    """The modules and their losses."""

    modules: MultiAgentRLModule
    framework: Framework

    def build_module(self, module_id: str, spec: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins the others."""

    def make_loss(self, module: RLModule) -> Any:
        """Return the loss of one module, a function of (minibatch, coefficients)."""


class MakeLearning(Protocol):
    """Travels to where a learner is, by pickle, and makes there what it needs."""

    def __call__(self, seed: int) -> Learning:
        """Make the modules; what they weigh does not matter yet."""


class RemoteLearner:
    """Computes the gradient on some rows of a lesson with the weights that come with the question."""

    def __init__(self, make: MakeLearning, seed: int) -> None:
        self._learning = make(seed)
        self._updaters: dict[str, Updater] = {}
        self._added: dict[str, Added | None] = dict.fromkeys(self._learning.modules)
        self._number = -1
        self._lesson: Lesson | None = None

    def lacks(self, number: int) -> bool:
        """Whether a lesson is another than the one at hand."""
        return number != self._number

    def begin(self, number: int, lesson: Lesson) -> None:
        """Take over the rows, and the module as it is."""
        key, modules = lesson.module_id, self._learning.modules
        if self._added.get(key, self) != lesson.added:  # unknown, or one of the same id before it
            self._updaters.pop(key, None)
            spec = None if lesson.added is None else lesson.added.spec
            modules.add_module(key, self._learning.build_module(key, spec), override=True)
            self._added[key] = lesson.added
        modules.set_state(lesson.state)
        if key not in self._updaters:
            module = modules[key]
            make_updater = self._learning.framework.make_updater
            self._updaters[key] = make_updater(module, self._learning.make_loss(module))
        self._number, self._lesson = number, lesson

    def gradient(self, rows: IntArray, coefficients: Mapping[str, float], weights: FlatArray) -> Gradient:
        """Return the loss of the rows, and its gradient."""
        lesson, bridge = self._at_hand(), self._learning.framework.bridge
        updater, device = self._updaters[lesson.module_id], self._learning.modules[lesson.module_id].device
        updater.set_weights(weights)
        with bridge.threads(1):  # there are several learners
            batch = {
                name: bridge.to_tensors(map_nest(lambda array: array[rows], column), device)
                for name, column in lesson.batch.items()
            }
            return Gradient(*updater.gradient(batch, coefficients))

    def state(self, weights: FlatArray) -> State:
        """Return the state of the lesson's module, with these weights."""
        lesson = self._at_hand()
        self._updaters[lesson.module_id].set_weights(weights)
        return self._learning.modules[lesson.module_id].get_state()

    def _at_hand(self) -> Lesson:
        if self._lesson is None:
            raise RuntimeError("a learner was asked before it was given a lesson")
        return self._lesson
