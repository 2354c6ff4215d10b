"""Keeps Ctrl-C away from lines that belong together, and lets it through where one waits.

Python raises KeyboardInterrupt between any two instructions of the main thread, so also between a change
and the note of it in the books. What must be both or neither is done inside of `held`:

    with held():
        with released():
            batch = wait_for_it()  # is interrupted at once
        books.count(batch)  # never in between
    # here, at the latest, what came meanwhile is raised

Both do nothing on other threads, where Python runs no handlers, and where SIGINT has no handler that is
Python's: where a program ignores it, or leaves it to the system.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from threading import current_thread, main_thread
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class held:
    """Inside, SIGINT is noted; its handler is called when the outermost of these ends.

    What is inside must not be left by a `yield`.
    """

    def __enter__(self) -> None:
        self._guard, self._is_outermost = _guard(), False
        if self._guard is not None:
            self._was_open, self._guard.open = self._guard.open, False
        elif current_thread() is main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if isinstance(handler, _Guard):  # one that was left over
                handler = handler.before
            if callable(handler):
                self._is_outermost = True
                self._guard = _Guard(handler, sys._getframe(1))
                signal.signal(signal.SIGINT, self._guard)

    def __exit__(self, *_: object) -> None:
        if (guard := self._guard) is None:
            return
        if self._is_outermost:
            guard.end()
            guard.deliver()
        else:
            guard.open = self._was_open
            if guard.open:
                guard.deliver()


class released:
    """Inside, within `held`, SIGINT is as it was outside; what was noted before is delivered first."""

    def __enter__(self) -> None:
        self._guard = guard = _guard()
        if guard is not None:
            self._was_open = guard.open
            try:
                guard.open = True
                guard.deliver()
            except BaseException:
                guard.open = self._was_open
                raise

    def __exit__(self, *_: object) -> None:
        if (guard := self._guard) is not None:
            guard.open = self._was_open


class _Guard:
    """Stands in for the handler that was there before, while a frame runs.

    An exception of another signal's handler can come between the end of a `with` and its `__exit__`, which is
    not called then. So it looks for the frame, rather than take Ctrl-C from the program for ever.
    """

    def __init__(self, before: Handler, frame: FrameType) -> None:
        self.before = before
        self.open = False
        self._frame: FrameType | None = frame
        self._noted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.runs(frame):
            self.end()
            self.before(number, frame)
        elif self.open:
            self.before(number, frame)
        else:
            self._noted = True

    def runs(self, frame: FrameType | None) -> bool:
        """Whether a frame is in one that is guarded."""
        while frame is not None and frame is not self._frame:
            frame = frame.f_back
        return frame is not None

    def end(self) -> None:
        """Put the handler back that was there, unless somebody set another, which stays."""
        now: object = signal.getsignal(signal.SIGINT)
        if now is self:
            signal.signal(signal.SIGINT, self.before)
        self._frame = None

    def deliver(self) -> None:
        """Call the handler for what was noted."""
        if self._noted:
            self._noted = False
            self.before(signal.SIGINT, sys._getframe())


def _guard() -> _Guard | None:
    """Return what keeps SIGINT away from this thread, if anything does."""
    if current_thread() is not main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    return handler if isinstance(handler, _Guard) and handler.runs(sys._getframe()) else None
