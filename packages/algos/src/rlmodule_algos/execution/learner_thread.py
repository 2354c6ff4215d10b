"""A thread to learn on, so that the one that samples can see to its runners meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

ATTEND_S = 0.02  # between two looks at the runners
SETTLE_S = 5.0  # for the work at hand, after an interrupt and at the end

T = TypeVar("T")


class LearnerThread:
    """Does one piece of work at a time, for one who has something to attend to until it is done.

    Outside of `run` nothing happens, so that nobody but the work itself sees weights that change. Work is
    never broken off: an interrupt of the one who waits, by Ctrl-C say, finds every update taken whole.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._unfinished: Future[Any] | None = None  # of a call that was interrupted
        # Where the work never ends, a loop in a user's loss say, the program shall still be able to.
        self._thread = Thread(target=self._serve, name="rlmodule-learner", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T], attend: Callable[[], None]) -> T:
        """Return what `work` returns or raise what it raises; `attend` is called while it runs.

        What `attend` raises, or an interrupt, is raised once the work is done, or after `SETTLE_S` seconds
        with a note that it goes on; the next `run` waits for its end then.
        """
        if self._unfinished is not None:
            _await(self._unfinished, attend)
            self._unfinished = None
        task: Future[T] = Future()
        self._tasks.put((work, task))
        try:
            _await(task, attend)
            return task.result()
        except BaseException as error:
            if not task.done():
                self._settle(task, error)
            raise
        finally:
            del task  # whose exception holds this frame

    def require_idle(self, doing: str) -> None:
        """Raise RuntimeError where an interrupted `train` is still at work."""
        if self._unfinished is not None and not self._unfinished.done():
            raise RuntimeError(
                f"{doing}: a train() that was interrupted is still learning from its batch, on the thread "
                f"{self._thread.name!r}; wait, or call train() again, which does"
            )

    def close(self) -> None:
        """End the thread after the work at hand, for which it waits `SETTLE_S` seconds at most."""
        self._tasks.put(None)
        self._thread.join(SETTLE_S)

    def _settle(self, task: Future[Any], interrupt: BaseException) -> None:
        """Let the work come to its end, and tell with the interrupt what it came to."""
        self._unfinished = task
        if wait([task], timeout=SETTLE_S).not_done:
            interrupt.add_note("The learner is still at work on the batch that it was given.")
            return
        self._unfinished = None
        if (failure := task.exception()) is not None:
            interrupt.add_note(f"The learner failed as well: {type(failure).__name__}: {failure}")

    def _serve(self) -> None:
        while (given := self._tasks.get()) is not None:
            _do(*given)
            del given  # or the batch would be held until the next one


def _do(work: Callable[[], T], task: Future[T]) -> None:
    try:
        task.set_result(work())
    except BaseException as error:  # it is raised where the work was asked for
        task.set_exception(error)
    finally:
        del task  # whose exception holds this frame


def _await(task: Future[Any], attend: Callable[[], None]) -> None:
    while wait([task], timeout=ATTEND_S).not_done:
        attend()
