"""The watchdog of a private Ray finds each process that belongs to it, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import IO

import pytest

from rlmodule_algos.execution import ray_surroundings, ray_watchdog

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="read from /proc")


@contextmanager
def process(code: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A program of the standard library that ends when we close its input."""
    program = f"{code}\nprint('up', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as started:
        assert opened(started.stdout).readline() == "up\n"
        try:
            yield started
        finally:
            started.kill()


def opened(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def test_a_process_with_the_folder_in_its_environment_belongs_to_it(tmp_path: Path) -> None:
    with process("", RAY_TMPDIR=f"{tmp_path}/ray") as started:
        assert ray_watchdog.is_marked(started.pid, str(tmp_path))


def test_a_process_that_only_keeps_a_log_open_belongs_to_it(tmp_path: Path) -> None:
    with process(f"log = open({str(tmp_path / 'agent.log')!r}, 'a')") as started:
        assert ray_watchdog.is_marked(started.pid, str(tmp_path))


def test_a_process_that_reads_a_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "agent.log").write_text("words\n")
    with process(f"log = open({str(tmp_path / 'agent.log')!r})") as started:
        assert not ray_watchdog.is_marked(started.pid, str(tmp_path))


def test_a_process_of_a_folder_with_a_longer_name_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path.with_name(f"{tmp_path.name}2")
    other.mkdir()
    with process(f"log = open({str(other / 'agent.log')!r}, 'a')") as started:
        assert not ray_watchdog.is_marked(started.pid, str(tmp_path))


def test_the_sweep_kills_what_belongs_to_the_folder_and_spares_whom_it_is_told_to(tmp_path: Path) -> None:
    log = f"log = open({str(tmp_path / 'agent.log')!r}, 'a')"
    with process(log) as one, process(log) as spared, process("") as stranger:
        ray_watchdog.sweep(str(tmp_path), spare={os.getpid(), spared.pid})

        assert one.wait(timeout=10) < 0
        assert spared.poll() is None
        assert stranger.poll() is None


@pytest.mark.parametrize("before", ["before", None])
def test_a_variable_is_put_back_unless_somebody_else_has_set_it_meanwhile(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("ONE", raising=False)
    if before is not None:
        monkeypatch.setenv("ONE", before)
    for meanwhile, after in (("ours", before), ("the program's", "the program's")):
        with ray_surroundings.environment(ONE="ours"):
            assert os.environ["ONE"] == "ours"
            monkeypatch.setenv("ONE", meanwhile)
        assert os.environ.get("ONE") == after


def test_many_processes_that_do_not_obey_are_ended_as_fast_as_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        several = [
            stack.enter_context(process("", RAY_TMPDIR=f"{tmp_path}/ray"))
            for _ in range(6 * int(ray_surroundings.OBEY_S))
        ]
        for one in several:
            one.send_signal(signal.SIGSTOP)
        begin = monotonic()
        ray_surroundings.make_sure_of_the_end([one.pid for one in several], str(tmp_path))

        assert [one.wait(timeout=10) for one in several] == [-signal.SIGKILL] * len(several)
        assert monotonic() - begin < 3 * ray_surroundings.OBEY_S
