"""Ends every process of a private Ray once its driver is gone, however it went.

Runs as a program of its own, with the standard library alone: `python ray_watchdog.py TOKEN FOLDER`.
Ray's own processes follow a driver that was killed, but for two agents, and for the children of a
runner that was killed. Each of them has TOKEN in its environment. When the driver closes our standard
input, or dies, whatever has the token is killed and FOLDER is removed.
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


def main(token: str, folder: str) -> None:
    """Wait for the end of the driver, then clean up."""
    driver = os.getppid()
    while os.getppid() == driver:
        if select.select([sys.stdin], [], [], POLL_S)[0]:  # closed: nothing is ever written
            break
    sweep(token.encode())
    shutil.rmtree(folder, ignore_errors=True)


def sweep(token: bytes) -> None:
    """Kill what has the token, until there is none."""
    end, last_seen = monotonic() + SWEEP_S, monotonic()
    while monotonic() < end and monotonic() - last_seen < QUIET_S:
        for pid in marked(token):
            last_seen = monotonic()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        sleep(0.1)


def marked(token: bytes) -> list[int]:
    """Return the processes whose environment has the token, but for this one."""
    pids = [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if pid != os.getpid() and is_marked(pid, token)]


def is_marked(pid: int, token: bytes) -> bool:
    """Whether the environment that a process was started with has the token."""
    try:
        return token in Path("/proc", str(pid), "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is another user's
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
