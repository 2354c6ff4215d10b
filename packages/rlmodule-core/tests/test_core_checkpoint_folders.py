"""Checkpoint folders: read while they are replaced, what a dead process left, and what is no folder."""

import os
import shutil
import threading
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

FILES = ("manifest.json", "state.json", "tensors.safetensors")


def save(directory: Path, number: int) -> Path:
    tree = {"number": number, "weights": np.full((64, 64), number, np.float32)}
    write_checkpoint(directory, tree, kind="test", replace=True)
    return directory


def number_in(directory: Path) -> int:
    """The number that a checkpoint holds, which must be whole."""
    read = read_checkpoint(directory, kind="test")
    assert (read["weights"] == read["number"]).all()
    return int(read["number"])


def leftover(target: Path, number: int) -> Path:
    """What a process leaves that dies before it removes the checkpoint which it replaced."""
    aside = target.parent / f".{target.name}.replaced"
    save(target.parent / "elsewhere", number).rename(aside)
    return aside


def test_a_reader_sees_the_old_or_the_new_checkpoint_while_another_thread_replaces_it(tmp_path: Path) -> None:
    target = save(tmp_path / "ckpt_1", 0)
    over = threading.Event()

    def save_again_and_again() -> None:
        for number in range(1, 400):
            save(target, number)
        over.set()

    saver = threading.Thread(target=save_again_and_again)
    saver.start()
    seen = [0]
    try:
        while not over.is_set():
            assert is_checkpoint(target)
            seen.append(number_in(target))
            assert list(numbered_checkpoints(tmp_path)) == [target]
    finally:
        saver.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt_1"]


@pytest.mark.parametrize("opened", FILES)
def test_a_checkpoint_replaced_before_any_of_its_files_is_opened_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: str
) -> None:
    target = save(tmp_path / "c", 1)
    original, replaced = os.open, False

    def open_late(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        nonlocal replaced
        if Path(path).name == opened and not replaced and not flags & os.O_CREAT:
            replaced = True
            save(target, 2)
        return original(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_late)
    assert number_in(target) == 2
    assert replaced


def test_what_was_left_aside_goes_at_the_next_load_and_never_comes_back(tmp_path: Path) -> None:
    target = save(tmp_path / "ckpt_5", 2)
    aside = leftover(target, 1)

    assert number_in(target) == 2
    assert not aside.exists()
    shutil.rmtree(target)
    assert not is_checkpoint(target)
    with pytest.raises(CheckpointError, match=r"ckpt_5/manifest\.json: missing"):
        number_in(target)


def test_what_was_left_aside_and_removed_in_part_goes_too(tmp_path: Path) -> None:
    target = save(tmp_path / "c", 2)
    for removed in (FILES[:0], FILES[1:], FILES):
        aside = leftover(target, 1)
        for name in removed:
            (aside / name).unlink()
        assert number_in(save(target, 3)) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_loading_leaves_what_was_left_aside_of_a_checkpoint_that_is_damaged(tmp_path: Path) -> None:
    target = save(tmp_path / "c", 2)
    aside = leftover(target, 1)
    (target / "state.json").write_text("{")

    with pytest.raises(CheckpointError, match=r"c/state\.json"):
        number_in(target)
    assert number_in(aside) == 1


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("holds", [["notes.txt"], ["notes.txt", "manifest.json"], ["state.json"], None])
def test_a_folder_of_somebody_elses_that_lies_aside_is_never_removed(
    tmp_path: Path, exists: bool, holds: list[str] | None
) -> None:
    target, aside = tmp_path / "c", tmp_path / ".c.replaced"
    if exists:
        save(target, 1)
    if holds is None:
        aside.write_text("precious")
    else:
        aside.mkdir()
        for name in holds:
            (aside / name).write_text("precious")
    before = sorted(path.name for path in tmp_path.rglob("*"))

    with pytest.raises(CheckpointError, match=r"\.c\.replaced: .*no checkpoint of ours.*move it away"):
        save(target, 2)
    if exists:
        assert number_in(target) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no such files")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("special", ["fifo", "zero"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_at_once(
    tmp_path: Path, name: str, special: str
) -> None:
    path = save(tmp_path / "c", 1) / name
    path.unlink()
    if special == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(path.parent, kind="test")


def test_a_file_longer_than_the_manifest_says_is_refused_unread(tmp_path: Path) -> None:
    path = save(tmp_path / "c", 1) / "tensors.safetensors"
    os.truncate(path, 2**40)  # no memory holds it, and the disk need not

    with pytest.raises(CheckpointError, match=rf"has {2**40} bytes, manifest\.json says"):
        read_checkpoint(path.parent, kind="test")


def test_a_path_that_leads_nowhere_is_a_checkpoint_error_to_readers_and_writers(tmp_path: Path) -> None:
    (tmp_path / "ckpt_1").symlink_to("ckpt_2")
    (tmp_path / "ckpt_2").symlink_to("ckpt_1")
    for name in ("ckpt_1", "ckpt_1/below", "x" * 300, "y" * 250, "null\0byte"):
        assert not is_checkpoint(tmp_path / name)
        with pytest.raises(CheckpointError, match=tmp_path.name):
            read_checkpoint(tmp_path / name, kind="test")
        with pytest.raises(CheckpointError, match=tmp_path.name):
            save(tmp_path / name, 1)
    assert list(numbered_checkpoints(tmp_path)) == []
    assert len(list(tmp_path.iterdir())) == 2
