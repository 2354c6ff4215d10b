"""Algorithms with runners on Ray that are made, trained and stopped again and again leave nothing behind.

Takes about ten minutes: `hatch run test tests/chaos/test_chaos_cycles.py -m long -s`.
"""

from __future__ import annotations

import gc
import os
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
    files: int
    shared_memory: int  # segments on this machine
    folders: int
    megabytes: float


def held() -> Held:
    gc.collect()
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return Held(
        children=len(children),
        threads=int(fields["Threads"]),
        files=len(list(Path("/proc/self/fd").iterdir())),
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

    assert now._replace(files=0, megabytes=0.0) == before._replace(files=0, megabytes=0.0)
    assert now.files - before.files <= 4 + CYCLES // 10  # sockets of Ray's that close a little later
    assert now.megabytes - before.megabytes < 1.0 * CYCLES
