"""Checkpoints are whole or absent: a full disk at any moment, a killed process, a folder of someone else."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_core import (
    CheckpointError,
    is_checkpoint,
    numbered_checkpoints,
    read_checkpoint,
    write_checkpoint,
)

CALLS = ["fsync", "rename", "write", "mkdir"]


def state(number: int) -> dict[str, Any]:
    return {"number": number, "weights": np.full((64, 64), number, np.float32)}


def number_in(directory: Path) -> int:
    """The number that a checkpoint holds, which must be whole."""
    read = read_checkpoint(directory, kind="test")
    assert (read["weights"] == read["number"]).all()
    return int(read["number"])


def litter(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def break_at(monkeypatch: pytest.MonkeyPatch, call: str, n: int) -> Callable[[], int]:
    """Make the n-th call of a kind fail as a full disk does; returns the number of calls so far."""
    place: dict[str, tuple[Any, str]] = {
        "fsync": (os, "fsync"),
        "rename": (Path, "rename"),
        "mkdir": (Path, "mkdir"),
        "write": (os, "open"),  # for writing: what a file of the checkpoint starts with
    }
    owner, name = place[call]
    original = getattr(owner, name)
    calls = 0

    def broken(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if (call == "mkdir" and kwargs.get("exist_ok")) or (call == "write" and not args[1] & os.O_CREAT):
            return original(*args, **kwargs)
        calls += 1
        if calls == n:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, broken)
    return lambda: calls


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("replace", [False, True])
def test_a_full_disk_at_any_call_leaves_the_old_or_the_new_checkpoint_and_no_litter(
    tmp_path: Path, call: str, replace: bool
) -> None:
    failures = 0
    for n in range(1, 20):
        folder = tmp_path / str(n)
        target = folder / ("ckpt_1" if replace else "ckpt_2")
        write_checkpoint(folder / "ckpt_1", state(1), kind="test")
        with pytest.MonkeyPatch.context() as monkeypatch:
            calls = break_at(monkeypatch, call, n)
            try:
                write_checkpoint(target, state(2), kind="test", replace=replace)
            except OSError as error:
                failures += error.errno == errno.ENOSPC
        if calls() < n:  # every call of this kind had its turn
            assert number_in(target) == 2
            break
        newest = number_in(next(numbered_checkpoints(folder)))
        assert newest in (1, 2)
        assert newest == 1 or call == "fsync"  # only what follows the commit may fail behind it
        assert litter(folder) == []
        write_checkpoint(target, state(3), kind="test", replace=True)
        assert number_in(target) == 3
    assert failures == n - 1 >= {"fsync": 5, "rename": 2 if replace else 1, "write": 3, "mkdir": 1}[call]


def test_an_interrupt_while_saving_leaves_no_litter_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "ckpt_1", state(1), kind="test")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["notes.txt", "model.pt", ".hidden"])
def test_replacing_refuses_a_folder_that_holds_anything_else(tmp_path: Path, content: str) -> None:
    target = tmp_path / "mine"
    write_checkpoint(target, state(1), kind="test")
    (target / content).write_text("precious")

    with pytest.raises(CheckpointError, match=f"mine: not replaced.*it holds {content}"):
        write_checkpoint(target, state(2), kind="test", replace=True)

    assert (target / content).read_text() == "precious"
    assert number_in(target) == 1
    assert litter(tmp_path) == []


def test_replacing_refuses_a_file_another_kind_and_a_damaged_checkpoint(tmp_path: Path) -> None:
    file, other, damaged = tmp_path / "file", tmp_path / "other", tmp_path / "damaged"
    file.write_text("x")
    write_checkpoint(other, state(1), kind="another")
    write_checkpoint(damaged, state(1), kind="test")
    (damaged / "manifest.json").write_text("{")

    for target in (file, other, damaged):
        with pytest.raises(CheckpointError, match=target.name):
            write_checkpoint(target, state(2), kind="test", replace=True)
    assert file.read_text() == "x"
    assert read_checkpoint(other, kind="another")["number"] == 1


def test_a_taken_name_is_refused_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a", state(1), kind="test")
    (tmp_path / "empty").mkdir()

    for name in ("a", "empty"):
        with pytest.raises(CheckpointError, match=f"{name}: exists already"):
            write_checkpoint(tmp_path / name, state(2), kind="test")
        write_checkpoint(tmp_path / name, state(3), kind="test", replace=True)
        assert number_in(tmp_path / name) == 3
    assert litter(tmp_path) == []


def test_a_process_that_died_between_the_two_renames_left_the_old_checkpoint_readable(
    tmp_path: Path,
) -> None:
    target, aside = tmp_path / "ckpt_5", tmp_path / ".ckpt_5.replaced"
    write_checkpoint(tmp_path / "ckpt_4", state(4), kind="test")
    write_checkpoint(target, state(5), kind="test")
    target.rename(aside)

    assert is_checkpoint(target)
    assert number_in(target) == 5
    assert [path.name for path in numbered_checkpoints(tmp_path)] == ["ckpt_5", "ckpt_4"]
    write_checkpoint(target, state(6), kind="test", replace=True)
    assert number_in(target) == 6
    assert litter(tmp_path) == []


def test_a_process_that_died_before_tidying_up_left_the_new_checkpoint_in_force(tmp_path: Path) -> None:
    target, aside = tmp_path / "ckpt_5", tmp_path / ".ckpt_5.replaced"
    write_checkpoint(target, state(1), kind="test")
    target.rename(aside)
    write_checkpoint(tmp_path / "elsewhere", state(2), kind="test")
    (tmp_path / "elsewhere").rename(target)

    assert number_in(target) == 2
    write_checkpoint(target, state(3), kind="test", replace=True)
    assert number_in(target) == 3
    assert litter(tmp_path) == []


def test_checkpoints_are_numbered_by_number_and_only_committed_ones_count(tmp_path: Path) -> None:
    for name in ("ckpt_9", "ckpt_10", "ckpt_000000002", "ckpt_x", "ckpt_²", "ckpt_-1", "other_5", "xckpt_6"):
        write_checkpoint(tmp_path / name, state(1), kind="test")
    (tmp_path / "ckpt_99").mkdir()
    (tmp_path / "ckpt_98").write_text("")
    shutil.copytree(tmp_path / "ckpt_9", tmp_path / ".tmp-1-ckpt_97")
    shutil.copytree(tmp_path / "ckpt_9", tmp_path / ".ckpt_96")

    assert [path.name for path in numbered_checkpoints(tmp_path)] == ["ckpt_10", "ckpt_9", "ckpt_000000002"]
    assert list(numbered_checkpoints(tmp_path / "nowhere")) == []


SAVE_LOOP = """
import sys
from pathlib import Path
import numpy as np
from rlmodule_core import write_checkpoint
folder, replace, number = Path(sys.argv[1]), sys.argv[2] == "replace", int(sys.argv[3])
while True:
    number += 1
    name = "ckpt_1" if replace else f"ckpt_{number}"
    tree = {"number": number, "weights": np.full((64, 64), number, np.float32)}
    write_checkpoint(folder / name, tree, kind="test", replace=replace)
    print(number, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("mode", ["replace", "number"])
def test_after_a_kill_at_any_moment_the_newest_acknowledged_checkpoint_loads(
    tmp_path: Path, mode: str
) -> None:
    rng = random.Random(0)
    acknowledged = 0
    for _ in range(6):
        command = [sys.executable, "-c", SAVE_LOOP, str(tmp_path), mode, str(acknowledged)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.read().splitlines()]
        process.wait()
        process.stdout.close()
        acknowledged = int([line for line in lines if line.strip()][-1])

        newest = number_in(next(numbered_checkpoints(tmp_path)))
        assert acknowledged <= newest <= acknowledged + 1  # the last may be committed, not yet told
        for path in numbered_checkpoints(tmp_path):
            number_in(path)
        acknowledged = newest


HELD_SAVE = """
import os, sys, time
from pathlib import Path
import numpy as np
from rlmodule_core import write_checkpoint
calls, fsync = [], os.fsync
def hold(descriptor):
    fsync(descriptor)
    calls.append(descriptor)
    if len(calls) == 2:
        print("held", flush=True)
        time.sleep(600)
os.fsync = hold
write_checkpoint(Path(sys.argv[1]), {"weights": np.zeros(9, np.float32)}, kind="test")
"""


@contextmanager
def a_save_that_hangs(target: Path) -> Iterator[Callable[[], None]]:
    """Have another process write two of three files, and yield what kills it."""
    command = [sys.executable, "-c", HELD_SAVE, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def kill() -> None:
            process.kill()
            process.wait()

        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield kill
        finally:
            kill()


linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which boot wrote a folder")


@linux
def test_what_a_killed_save_left_is_removed_by_the_next_one_beside_it_and_a_living_one_kept(
    tmp_path: Path,
) -> None:
    with a_save_that_hangs(tmp_path / "ckpt_1") as kill:
        (left,) = litter(tmp_path)
        assert len(list((tmp_path / left).iterdir())) == 2
        write_checkpoint(tmp_path / "ckpt_2", state(2), kind="test")
        assert litter(tmp_path) == [left]

        kill()
        assert litter(tmp_path) == [left]
        write_checkpoint(tmp_path / "ckpt_3", state(3), kind="test")

    assert litter(tmp_path) == []
    assert [number_in(path) for path in numbered_checkpoints(tmp_path)] == [3, 2]


@linux
@pytest.mark.parametrize("doubt", ["another machine", "an unknown file", "nothing in it", "a link"])
def test_what_is_not_surely_ours_and_abandoned_is_kept(tmp_path: Path, doubt: str) -> None:
    with a_save_that_hangs(tmp_path / "ckpt_1") as kill:
        kill()
    left = next(path for path in tmp_path.iterdir() if path.name.startswith(".tmp-"))
    if doubt == "another machine":
        left = left.rename(tmp_path / f".tmp-{'0' * 32}-{'0' * 32}")
    elif doubt == "an unknown file":
        (left / "notes.txt").write_text("precious")
    elif doubt == "nothing in it":
        for path in left.iterdir():
            path.unlink()
    else:
        elsewhere = left.rename(tmp_path / "elsewhere")
        left.symlink_to(elsewhere)
    before = sorted(path.name for path in left.iterdir())

    write_checkpoint(tmp_path / "ckpt_2", state(2), kind="test")

    assert litter(tmp_path) == [left.name]
    assert sorted(path.name for path in left.iterdir()) == before


def test_saves_at_the_same_time_leave_each_other_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        saves = [
            pool.submit(write_checkpoint, tmp_path / f"ckpt_{n}", state(n), kind="test") for n in range(60)
        ]
        for save in saves:
            save.result()

    assert sorted(number_in(path) for path in numbered_checkpoints(tmp_path)) == list(range(60))
    assert litter(tmp_path) == []
