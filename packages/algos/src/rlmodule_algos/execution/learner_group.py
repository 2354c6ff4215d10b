"""Several learners elsewhere, who compute the gradient of a minibatch together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

import numpy as np

from rlmodule_algos.execution.engine import Doomed, Process, Ref
from rlmodule_algos.learning import Gradient, LearnerError, Lesson
from rlmodule_algos.learning.data_parallel import FlatArray
from rlmodule_algos.learning.learner import IntArray
from rlmodule_core.module import State

MAX_WAIT_S = 1.0  # in one go, so that deadlines are seen
SMALL = 50_000  # bytes; what is not above goes with the request itself, which saves a millisecond


@dataclass(frozen=True)
class LearnerTolerance:
    """How much failure is borne. Times are in seconds."""

    max_failures_in_a_row: int  # of one learner, without an answer in between
    start_timeout_s: float  # for making the modules; doubles with every failure in a row
    learn_timeout_s: float  # for one answer


@dataclass(frozen=True)
class Question:
    """What a learner is asked: a method of `RemoteLearner` and what it takes, about a lesson."""

    method: str
    arguments: tuple[Any, ...]
    number: int  # of the lesson
    lesson: Ref


class LearnerEngine(Protocol):
    """Starts, asks, awaits and ends learners. Only `wait`, `get` and, for a moment, `kill` block."""

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        """Start a process that makes a `RemoteLearner`."""

    def put(self, value: object) -> Ref:
        """Store something once, for all learners to read."""

    def ask(self, process: Process, question: Question, weights: Ref) -> Ref:
        """Ask a learner; the weights, an array or what was put, come last of what its method takes."""

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        """Return those that are there, done or failed, waiting until one is or the time is over."""

    def get(self, ref: Ref) -> Any:
        """Return a result that is there. Raises what the learner raised, or that it died."""

    def died(self, error: Exception) -> bool:
        """Whether an error of `get` says that the process died, and not that it raised something."""

    def kill(self, processes: Sequence[Doomed]) -> None:
        """End processes at once, whatever they are doing; all are told to before any is waited for."""

    def close(self) -> None:
        """Release what belongs to all learners; calling it again does nothing."""


@dataclass
class Slot:
    """One learner, whichever process is it at the moment."""

    index: int
    process: Process
    incarnation: int = 1
    pid: int | None = None  # once it has answered
    failures: int = 0  # in a row
    first_error: str = ""  # of those


class LearnerGroup:
    """Asks learners, and replaces those that die or hang; what they were asked is asked again.

    What a learner raises is the program's and would come again, so it ends the run, as do failures in a
    row: `LearnerError`, now and whenever it is asked again.
    """

    def __init__(
        self, engine: LearnerEngine, num_learners: int, tolerance: LearnerTolerance, seed: int
    ) -> None:
        self.num_learners = num_learners
        self.num_restarts = 0
        self._engine = engine
        self._tolerance = tolerance
        self._rng = np.random.default_rng(seed)
        self._slots: list[Slot] = []
        self._number = -1
        self._lesson: Ref = None
        self._error: LearnerError | None = None
        self._closed = False
        self._pid = os.getpid()
        try:
            for index in range(num_learners):
                self._slots.append(Slot(index, engine.start(index, 1, self._draw_seed())))
        except BaseException:
            self.close()
            raise

    def begin(self, lesson: Lesson) -> None:
        """Let what follows be about this lesson; the one before is released."""
        self._require_working()
        self._number += 1
        self._lesson = self._engine.put(lesson)

    def compute(
        self, parts: Sequence[IntArray], weights: FlatArray, coefficients: Mapping[str, float]
    ) -> list[Gradient]:
        """Return the gradient on each part of the rows; at most one part a learner."""
        return self._ask("gradient", [(part, dict(coefficients)) for part in parts], weights)

    def state(self, weights: FlatArray) -> State:
        """Return the module of the lesson with these weights, and what else the first learner made of it."""
        (state,) = self._ask("state", [()], weights)
        return dict(state)

    def close(self) -> None:
        """End every learner; calling it again, or in a fork of this process, does nothing."""
        if not self._closed and os.getpid() == self._pid:
            self._closed = True
            try:
                self._engine.kill([(slot.process, slot.pid) for slot in self._slots])
                self._slots.clear()  # the engine is closed once nobody refers to a process any more
                self._lesson = None
            finally:
                self._engine.close()

    # --- one question each --------------------------------------------------------------------

    def _ask(self, method: str, arguments: Sequence[tuple[Any, ...]], weights: FlatArray) -> list[Any]:
        """Ask the first learners one question each; returns their answers in this order."""
        self._require_working()
        shared = self._engine.put(weights) if weights.nbytes > SMALL else weights
        answers: dict[int, Any] = {}
        asked: dict[Ref, tuple[Slot, float]] = {}
        to_ask = self._slots[: len(arguments)]
        while len(answers) < len(arguments):
            for slot in to_ask:
                question = Question(method, arguments[slot.index], self._number, self._lesson)
                asked[self._engine.ask(slot.process, question, shared)] = slot, monotonic()
            to_ask = self._await(asked, answers)
        return [answers[index] for index in range(len(arguments))]

    def _await(self, asked: dict[Ref, tuple[Slot, float]], answers: dict[int, Any]) -> list[Slot]:
        """Take what is there, waiting for a second at most; returns those that were replaced."""
        replaced = []
        for ref in self._engine.wait(list(asked), MAX_WAIT_S):
            slot, _ = asked.pop(ref)
            try:
                answers[slot.index] = self._engine.get(ref)
            except Exception as error:  # whatever a loss raises, or how its process died
                self._fail(slot, "raised an error or died", error)
                replaced.append(slot)
                continue
            slot.failures = 0
            if slot.pid is None:
                slot.pid = self._engine.get(slot.process.ready)
        for ref, (slot, since) in list(asked.items()):
            if (reason := self._overdue(slot, monotonic() - since)) is not None:
                del asked[ref]
                self._fail(slot, reason)
                replaced.append(slot)
        return replaced

    def _overdue(self, slot: Slot, seconds: float) -> str | None:
        limit, name = self._tolerance.learn_timeout_s, "learn_timeout_s"
        if slot.pid is None:  # it may still be making its modules
            limit += self._tolerance.start_timeout_s * 2**slot.failures  # as runners get it
            name = f"start_timeout_s + {name}"
        return None if seconds <= limit else f"did not answer within {limit:g} s (fault_tolerance: {name})"

    def _fail(self, slot: Slot, reason: str, error: Exception | None = None) -> None:
        """Replace a learner, or raise LearnerError where that is of no use."""
        described = reason if error is None else f"{reason}:\n{error}"
        slot.failures += 1
        slot.first_error = described if slot.failures == 1 else slot.first_error
        raised = error is not None and not self._engine.died(error)
        if raised or slot.failures >= self._tolerance.max_failures_in_a_row:
            text = f"learner {slot.index} {described}"
            if slot.first_error != described:
                text += f"\nIts first failure of {slot.failures} in a row: it {slot.first_error}"
            self._error = LearnerError(text)
            raise self._error from error
        self._engine.kill([(slot.process, slot.pid)])
        self.num_restarts += 1
        slot.incarnation, slot.pid = slot.incarnation + 1, None
        slot.process = self._engine.start(slot.index, slot.incarnation, self._draw_seed())

    def _require_working(self) -> None:
        if self._closed:
            raise RuntimeError("update: the learners were closed")
        if self._error is not None:
            raise self._error

    def _draw_seed(self) -> int:
        return int(self._rng.integers(2**31))
