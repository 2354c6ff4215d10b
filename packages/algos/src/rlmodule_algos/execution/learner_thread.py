"""A thread to learn on, so that the one that samples can see to its runners meanwhile."""

from __future__ import annotations

import atexit
from _thread import allocate_lock
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from rlmodule_algos.execution.interrupts import held, released

ATTEND_S = 0.02  # between two looks at the runners
SETTLE_S = 5.0  # for the work at hand, after an interrupt and at the end
EXIT_S = 60.0  # for the work at hand, before the program ends

T = TypeVar("T")


class LearnerThread:
    """Does one piece of work at a time, for one who has something to attend to until it is done.

    Outside of `run` and `finish` nothing happens, so that nobody but the work itself sees weights that
    change. Work is never broken off: an interrupt of the one who waits finds every update taken whole, and
    the program does not end while one runs, which no framework would survive, but for one that takes longer
    than `EXIT_S` seconds, perhaps for ever: that ends as Python ends daemon threads, or aborts the program.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._task: _Task[Any] | None = None  # that nobody has the outcome of as yet
        self._closed = False
        self._thread = Thread(target=_serve, args=(self._tasks,), name="rlmodule-learner", daemon=True)
        self._thread.start()
        atexit.register(self._end_within, EXIT_S)  # or until a last Ctrl-C

    def run(self, work: Callable[[], T], attend: Callable[[], None]) -> T:
        """Return what `work` returns or raise what it raises; `attend` is called while it runs.

        What `attend` raises, or an interrupt, is raised once the work is done, or after `SETTLE_S` seconds
        with a note that it goes on. Call `finish` before, for one that was interrupted so. RuntimeError where
        the thread was closed.
        """
        with held():
            self._task = task = _Task(work)
            try:
                self._await(task, attend)
            except BaseException as interrupt:
                self._settle(task, interrupt)
                raise
            return self._outcome(task)

    def finish(self, attend: Callable[[], None]) -> None:
        """Wait for the work of an interrupted `run`, and raise what it raised; `attend` as there."""
        with held():
            if (task := self._task) is not None:
                self._await(task, attend)
                self._outcome(task)

    def require_idle(self, call: str) -> None:
        """Raise RuntimeError, which says that `call` was refused, where a `train` is still at work."""
        if (task := self._task) is not None and not task.wait(0.0):
            where, fix = "is still learning from", "wait, or call train() again, which does"
            if not task.begun:
                where, fix = "did not come to learning from", "call train() again, which learns from it first"
            whose = "that was interrupted, or called on another thread,"
            raise RuntimeError(f"{call}: a train() {whose} {where} its batch; {fix}")

    def close(self) -> None:
        """End the thread after the work at hand, for which it waits `SETTLE_S` seconds at most."""
        self._closed = True
        self._end_within(SETTLE_S)
        if not self._thread.is_alive():
            atexit.unregister(self._end_within)
            if self._task is not None:
                self._task.give_up()

    def _await(self, task: _Task[Any], attend: Callable[[], None]) -> None:
        """Let the work be done, unless it has begun; `attend` until it is."""
        self._tasks.put(task)
        if self._closed:  # perhaps by another thread, and it may stand behind the end of the queue
            task.give_up()
        while not task.wait(ATTEND_S):
            attend()

    def _outcome(self, task: _Task[T]) -> T:
        try:
            return task.outcome()
        finally:
            self._task = None  # not before, or an error of the learner could be lost

    def _end_within(self, seconds: float) -> None:
        self._tasks.put(None)
        self._thread.join(seconds)

    def _settle(self, task: _Task[Any], interrupt: BaseException) -> None:
        """Let the work come to its end, and tell with the interrupt what it came to."""
        if not task.wait(SETTLE_S):
            interrupt.add_note(
                "The learner is still at work on the batch that it was given; a program that ends now waits "
                f"{EXIT_S:g} s for it at most."
            )
            return
        try:
            self._outcome(task)
        except BaseException as failure:
            interrupt.add_note(f"The learner failed as well: {type(failure).__name__}: {failure}")


class _Task(Generic[T]):
    """Work, and what came of it.

    It is waited for by a lock alone, which is taken in C: an interrupt inside of what is written in Python,
    a `Condition` say, can leave its lock taken for ever.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._context = copy_context()  # NumPy keeps there what it does about errors
        self._results: list[T] = []
        self._error: BaseException | None = None
        self._over = False
        self._begun = allocate_lock()
        self._done = allocate_lock()
        self._done.acquire()

    def wait(self, seconds: float) -> bool:
        """Return whether it is done, for which it is waited so long at most."""
        with released():
            if not self._over and self._done.acquire(timeout=seconds):
                self._done.release()  # for others who wait
        return self._over

    @property
    def begun(self) -> bool:
        """Whether somebody does it or did, or it was given up."""
        return self._begun.locked()

    def outcome(self) -> T:
        """Return what the work returned, or raise what it raised; only once, as nothing is kept of it."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._results.pop()
        finally:
            del error  # which holds this frame

    def give_up(self) -> None:
        """Let it be over without being done, unless it has begun."""
        if self._begun.acquire(blocking=False):
            self._work = None
            self._error = RuntimeError("this algorithm was stopped, perhaps by another thread: build another")
            self._over = True
            self._done.release()

    def do(self) -> None:
        """Do the work, the first time."""
        if not self._begun.acquire(blocking=False):
            return
        work, self._work = self._work, None
        try:
            if work is not None:
                self._results.append(self._context.run(work))
        except BaseException as error:  # it is raised where the work was asked for
            self._error = error
        finally:
            del work  # which its error would hold
            self._over = True
            self._done.release()


def _serve(tasks: SimpleQueue[_Task[Any] | None]) -> None:
    while (task := tasks.get()) is not None:
        task.do()
        del task  # or it would be held until the next one
