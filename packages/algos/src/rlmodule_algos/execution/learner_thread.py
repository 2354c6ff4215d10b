"""A thread to learn on, so that the one that samples can see to its runners meanwhile."""

from __future__ import annotations

import atexit
from _thread import allocate_lock
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

ATTEND_S = 0.02  # between two looks at the runners
SETTLE_S = 5.0  # for the work at hand, after an interrupt and at the end

FOR_EVER = -1.0  # of the timeout of a lock

T = TypeVar("T")


class LearnerThread:
    """Does one piece of work at a time, for one who has something to attend to until it is done.

    Outside of `run` and `finish` nothing happens, so that nobody but the work itself sees weights that
    change. Work is never broken off: an interrupt of the one who waits finds every update taken whole, and
    the program does not end while one runs, which no framework would survive.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._task: _Task[Any] | None = None  # that nobody has the outcome of as yet
        self._thread = Thread(target=_serve, args=(self._tasks,), name="rlmodule-learner", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T], attend: Callable[[], None]) -> T:
        """Return what `work` returns or raise what it raises; `attend` is called while it runs.

        What `attend` raises, or an interrupt, is raised once the work is done, or after `SETTLE_S` seconds
        with a note that it goes on. Call `finish` before, for one that was interrupted so.
        """
        self._task = task = _Task(work)
        self._tasks.put(task)
        try:
            while not task.wait(ATTEND_S):
                attend()
        except BaseException as interrupt:
            self._settle(task, interrupt)
            raise
        self._task = None
        return task.outcome()

    def finish(self, attend: Callable[[], None]) -> None:
        """Wait for the work of an interrupted `run`, and raise what it raised; `attend` as there."""
        if (task := self._task) is not None:
            self._tasks.put(task)  # where the interrupt came before it could be
            while not task.wait(ATTEND_S):
                attend()
            self._task = None
            task.outcome()

    def require_idle(self) -> None:
        """Raise RuntimeError where an interrupted `train` is still at work."""
        if self._task is not None and not self._task.wait(0.0):
            raise RuntimeError(
                "a train() that was interrupted is still learning from its batch, on a thread of its own; "
                "wait, or call train() again, which does"
            )

    def close(self) -> None:
        """End the thread after the work at hand, for which it waits `SETTLE_S` seconds at most."""
        self._tasks.put(None)
        self._thread.join(SETTLE_S)

    def _settle(self, task: _Task[Any], interrupt: BaseException) -> None:
        """Let the work come to its end, and tell with the interrupt what it came to."""
        if not task.wait(SETTLE_S):
            atexit.register(task.wait, FOR_EVER)  # or until a last Ctrl-C
            interrupt.add_note("The learner is still at work on the batch that it was given.")
            return
        self._task = None
        try:
            task.outcome()
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
        if not self._over:
            self._done.acquire(timeout=seconds)
        return self._over

    def outcome(self) -> T:
        """Return what the work returned, or raise what it raised; only once, as nothing is kept of it."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._results.pop()
        finally:
            del error  # which holds this frame

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
