"""Algorithms with runners on Ray that are made, trained and stopped again and again leave nothing behind.

Takes about ten minutes: `hatch run test tests/chaos/test_chaos_cycles.py -m long -s`.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rlmodule_algos import PPOConfig

CYCLES = int(os.environ.get("RLMODULE_CHAOS_CYCLES", "50"))
WARM_UP = 3
GRPC_THREADS = 10  # its pool, which ends where nothing of gRPC is left, and starts again
RAYS: dict[str, Any] = {"threads": 0, "files": 0, "megabytes": 0.0}  # the rest is compared as it is


class Held(NamedTuple):
    """What this process holds."""

    children: int
    threads: int
    files: int  # but for the pollers of gRPC, which come and go with its threads
    shared_memory: int  # segments on this machine
    folders: int
    megabytes: float


def is_poller(link: Path) -> bool:
    try:
        return os.readlink(link).startswith("anon_inode:")
    except OSError:  # that of the folder being read
        return True


def held() -> Held:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return Held(
        children=len(children),
        threads=int(fields["Threads"]),
        files=sum(not is_poller(link) for link in Path("/proc/self/fd").iterdir()),
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
    assert now._replace(**RAYS) == before._replace(**RAYS)
    assert now.threads - before.threads <= GRPC_THREADS
    assert now.files - before.files <= 1 + cycles // 5  # on a busy machine Ray forgets one now and then
    assert now.megabytes - before.megabytes < 0.3 * cycles
