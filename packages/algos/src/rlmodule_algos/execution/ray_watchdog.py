"""Ends every process of a private Ray once its driver is gone, however it went.

Runs as a program of its own, with the standard library alone: `python ray_watchdog.py FOLDER`.
Ray's own processes follow a driver that was killed, but for two agents, and for the children of a
runner that was killed. Each of them has FOLDER, which is this Ray's alone, in its environment, or writes
to a file in it: the agents write their title over their environment, sometimes over this part of it, but
keep their logs open. When the driver closes our standard input, or dies, all of these are killed and
FOLDER is removed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from pathlib import Path
from time import monotonic, sleep

POLL_S = 0.5
SWEEP_S = 10.0  # at most
QUIET_S = 1.0  # without any process found, after which none will come


def main(folder: str) -> None:
    """Wait for the end of the driver, then clean up."""
    driver = os.getppid()
    while os.getppid() == driver:
        if select.select([sys.stdin], [], [], POLL_S)[0]:  # closed: nothing is ever written
            break
    sweep(folder, spare={os.getpid(), driver})
    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: str, spare: set[int]) -> None:
    """Kill what belongs to the folder, until there is none."""
    end, last_seen = monotonic() + SWEEP_S, monotonic()
    while monotonic() < end and monotonic() - last_seen < QUIET_S:
        for pid in set(marked(folder)) - spare:
            last_seen = monotonic()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        sleep(0.1)


def marked(folder: str) -> list[int]:
    """Return the processes that belong to the Ray of a folder."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if is_marked(pid, folder)]


def is_marked(pid: int, folder: str) -> bool:
    """Whether a process was started with the folder in its environment, or writes to a file in it."""
    process = Path("/proc", str(pid))
    try:
        if folder.encode() in (process / "environ").read_bytes():
            return True
        return any(writes_into(folder, process, fd) for fd in os.listdir(process / "fd"))
    except OSError:  # it ended meanwhile, or is another user's
        return False


def writes_into(folder: str, process: Path, fd: str) -> bool:
    """Whether a descriptor of a process is open for writing to a file in the folder."""
    try:
        if not os.readlink(process / "fd" / fd).startswith(f"{folder}/"):
            return False
        return opened_for_writing((process / "fdinfo" / fd).read_text())
    except OSError:  # it was closed meanwhile
        return False


def opened_for_writing(fdinfo: str) -> bool:
    """Whether the kernel's description of a descriptor says so: who follows a log is left alone."""
    flags = next(line.split()[1] for line in fdinfo.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


if __name__ == "__main__":
    main(*sys.argv[1:])
