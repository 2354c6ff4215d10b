"""The Ray that is started by default is out of reach for others, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import IO

import pytest

from ray_checks import needs_ray

pytestmark = [
    needs_ray,
    pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="what is open is read from /proc"),
]

ENVIRONMENT = """
import gymnasium as gym

def make(_):
    def one(): return gym.make("CartPole-v1")
    return gym.vector.AsyncVectorEnv([one, one])  # has processes of its own
"""

DRIVER = """
import signal, sys
from rlmodule_algos import PPOConfig

def handler(*_): pass

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, handler)
    config = PPOConfig().environment(make).env_runners(num_env_runners=2).learners(num_learners=1)
    algorithm = config.training(train_batch_size=128, model={"fcnet_hiddens": [8]}).build()
    algorithm.train()
    assert signal.getsignal(signal.SIGTERM) is handler
    print("trained", flush=True)
    sys.stdin.readline()
"""


def parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            found[int(entry.parent.name)] = int(fields[1])
    return found


def descendants(root: int) -> set[int]:
    parent_of, found = parents(), {root}
    while new := {pid for pid, parent in parent_of.items() if parent in found} - found:
        found |= new
    return found - {root}


def listening(pids: set[int]) -> set[str]:
    """Return the addresses, in hexadecimal, on which processes wait for connections."""
    inodes = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            fields = line.split()
            if fields[3] == "0A":
                inodes[fields[9]] = fields[1].partition(":")[0]
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
            except OSError:
                continue
            if match and match[1] in inodes:
                found.add(inodes[match[1]])
    return found


LOOPBACKS = {
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # the same in IPv6's clothes
    "00000000000000000000000001000000",  # ::1
}


@contextmanager
def program(code: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is told to join a cluster that is none of ours."""
    started = subprocess.Popen(
        [sys.executable, "-c", ENVIRONMENT + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_ADDRESS": "192.0.2.77:6379", **variables},
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def opened(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def folders(pid: int) -> list[Path]:
    return list(Path("/tmp").glob(f"rlm-{pid}-*"))


def test_it_listens_on_the_loopback_alone_and_is_gone_fifteen_seconds_after_the_driver_was_killed() -> None:
    with program(DRIVER) as driver:
        assert opened(driver.stdout).readline() == "trained\n"
        pids = descendants(driver.pid)
        addresses = listening(pids | {driver.pid})
        (folder,) = folders(driver.pid)
        mode = stat.S_IMODE(folder.stat().st_mode)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        end = monotonic() + 15
        while (alive := pids & set(parents())) and monotonic() < end:
            sleep(0.2)

    assert not alive
    assert not folder.exists()
    assert len(pids) >= 6  # Ray's own, two runners, and two environments of each
    assert addresses
    assert addresses <= LOOPBACKS
    assert mode == 0o700


CYCLES = """
import ray, sys
from pathlib import Path
from time import sleep
from rlmodule_algos import PPOConfig
from rlmodule_algos.execution.ray_connection import connections, store_of, target_of
from rlmodule_algos.execution.ray_session import Session

if __name__ == "__main__":
    config = PPOConfig().environment(make).env_runners(num_env_runners=1).learners(num_learners=1)
    config.training(train_batch_size=128, model={"fcnet_hiddens": [8]})
    for _ in range(2):
        with config.build() as algorithm:
            algorithm.train()
            before = connections(store_of(ray._private.worker))
            sleep(1.0)  # until the statistics are written that we asked for
            log = next(Path(Session.current.folder).rglob("python-core-driver-*.log")).read_text()
            print("trained", flush=True)
            sys.stdin.readline()
        left = sum(target_of(entry) == target for entry, target in before.items())
        asked = ["WaitForActorRefDeleted - " in log, "PubsubLongPolling - " in log]
        print(len(before), left, *map(int, asked), flush=True)
        sys.stdin.readline()
"""


def test_nothing_is_left_of_a_ray_that_ends_with_stop_also_not_of_what_others_asked_this_process_for() -> (
    None
):
    """Each request that was not answered would keep a connection; see `ray_connection`."""
    with program(CYCLES, RAY_event_stats_print_interval_ms="200") as driver:
        for _ in range(2):
            assert opened(driver.stdout).readline() == "trained\n"
            pids = descendants(driver.pid)
            assert len(pids) >= 6  # Ray's own, a runner with two environments, and a learner
            begin = monotonic()
            print(file=opened(driver.stdin), flush=True)
            before, left, store_asked, node_polled = map(int, opened(driver.stdout).readline().split())

            assert monotonic() - begin < 10
            assert not descendants(driver.pid)
            assert not pids & set(parents())
            assert not folders(driver.pid)
            assert before >= 2  # of both directions
            assert not left
            assert store_asked  # for the end of each actor
            assert not node_polled
            print(file=opened(driver.stdin), flush=True)
