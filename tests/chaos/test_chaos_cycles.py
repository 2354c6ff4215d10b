"""Algorithms with runners on Ray that are made, trained and stopped again and again leave nothing behind.

Takes about ten minutes: `hatch run test tests/chaos/test_chaos_cycles.py -m long -s`.
"""

from __future__ import annotations

import errno
import gc
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from rlmodule_algos import PPOConfig

CYCLES = int(os.environ.get("RLMODULE_CHAOS_CYCLES", "50"))
WARM_UP = 3


class Held(NamedTuple):
    """What this process holds."""

    children: int
    threads: int
    files: int  # but for those of the next line
    dead_connections: int
    shared_memory: int  # segments on this machine
    folders: int
    megabytes: float


def dead_connections() -> int:
    """Count the TCP sockets of this process whose other end is gone: Ray forgets some in its C++ part."""
    dead = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if os.readlink(link).startswith("socket:"):
                with socket.socket(fileno=os.dup(int(link.name))) as copy:
                    dead += copy.family in (socket.AF_INET, socket.AF_INET6) and is_dead(copy)
    return dead


def is_dead(connection: socket.socket) -> bool:
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    try:
        connection.getpeername()
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def held() -> Held:
    gc.collect()
    dead = dead_connections()
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return Held(
        children=len(children),
        threads=int(fields["Threads"]),
        files=len(list(Path("/proc/self/fd").iterdir())) - dead,
        dead_connections=dead,
        shared_memory=len(list(Path("/dev/shm").iterdir())),
        folders=len(list(Path("/tmp").glob(f"rlm-{os.getpid()}-*"))),
        megabytes=int(fields["VmRSS"].split()[0]) / 1024,
    )


def cycle() -> None:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_env_runners=1).debugging(seed=0)
    with config.training(train_batch_size=128, model={"fcnet_hiddens": [8]}).build() as algorithm:
        algorithm.train()


@pytest.mark.long
def test_what_a_process_holds_stays_the_same_over_many_cycles() -> None:
    pytest.importorskip("ray")
    before = None
    for number in range(CYCLES):
        cycle()
        now = held()
        print(number, now)
        if number == min(WARM_UP, CYCLES - 2):
            before = now
    assert before is not None

    cycles = CYCLES - 1 - min(WARM_UP, CYCLES - 2)
    assert now._replace(dead_connections=0, megabytes=0.0) == before._replace(
        dead_connections=0, megabytes=0.0
    )
    assert now.dead_connections - before.dead_connections <= cycles + 2
    assert now.megabytes - before.megabytes < 0.3 * cycles
