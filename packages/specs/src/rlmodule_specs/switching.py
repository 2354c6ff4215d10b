"""The one switch that all checks obey, for the whole process.

    RLMODULE_CHECKS=off        read once, at import: decorators hand back the undecorated function
    with checks("off"): ...    from now to the end of the block, in every thread

`switch.on` is what compiled checks read at each call: one attribute of one object.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["checks", "switch", "wanted_at_import"]

TYPE_CHECKING = False  # type checkers know the name; `typing` itself loads longer than all that is ours
if TYPE_CHECKING:
    from typing import Literal


class Switch:
    """`on` is True while data is checked. Read it; only `checks` and the environment change it."""

    __slots__ = ("on",)

    def __init__(self, on: bool) -> None:
        self.on = on


def wanted_at_import(setting: str | None) -> bool:
    """Whether the value of RLMODULE_CHECKS asks for checks.

    >>> wanted_at_import(None), wanted_at_import("off")
    (True, False)
    """
    if setting is None or setting in ("", "on"):
        return True
    if setting == "off":
        return False
    raise ValueError(f"RLMODULE_CHECKS must be 'on' or 'off', got {setting!r}")


DEFAULT = wanted_at_import(os.environ.get("RLMODULE_CHECKS"))
switch = Switch(DEFAULT)
_lock = Lock()
_open: list[Switch] = []  # one wish for each block that is open; the youngest decides


@contextmanager
def checks(mode: "Literal['on', 'off']") -> Iterator[None]:
    """Switch all checks of the process "on" or "off" inside the block.

    Blocks may overlap in threads and end in any order: the youngest one that is still open decides.

    >>> with checks("off"):
    ...     switch.on
    False
    """
    if mode not in ("on", "off"):
        raise ValueError(f"checks() takes 'on' or 'off', got {mode!r}")
    wish = Switch(mode == "on")
    with _lock:
        _open.append(wish)
        switch.on = wish.on
    try:
        yield
    finally:
        with _lock:
            _open.remove(wish)
            switch.on = _open[-1].on if _open else DEFAULT
