"""Presses Ctrl-C at every line of a call, once each: what must hold after that, a test says."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any


def interrupted_at_every_line(
    call: Callable[[], object], *files: str, by: signal.Signals = signal.SIGINT
) -> Iterator[str]:
    """Call again and again, interrupted one line later each time; yield where, after each call.

    Lines are those that this thread comes to in sources whose paths end with one of `files`. It ends with
    the call that comes to fewer. AssertionError where an interrupt is not raised by the call. Another signal
    than Ctrl-C's needs a handler that raises as that does.
    """
    for number in count(1):
        where = _interrupted(call, files, number, by)
        if where is None:
            return
        yield where


def _interrupted(
    call: Callable[[], object], files: tuple[str, ...], number: int, by: signal.Signals
) -> str | None:
    lines, where, raised = 0, None, False

    def at_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines, where
        lines += event == "line"
        if where is None and lines == number:
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            sys.settrace(before)
            signal.raise_signal(by)
        return at_line

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        return at_line if frame.f_code.co_filename.endswith(files) else None

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        call()
    except KeyboardInterrupt:
        raised = True
    finally:
        sys.settrace(before)
    assert raised == (where is not None), f"interrupted at {where}: raised is {raised}"
    return where
