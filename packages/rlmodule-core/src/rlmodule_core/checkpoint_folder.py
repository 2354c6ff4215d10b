"""The folder of a checkpoint on the disk: others see the older one or the newer one, never a part.

A folder cannot be renamed over a full one. While a checkpoint takes another's place, the older one is
therefore `.<name>.replaced`; a process that dies at that moment leaves it there, and readers find it. One
that dies a moment later leaves it beside the newer one; whoever reads or writes that next removes it.

Before that it is written as `.tmp-<boot>-<random>`, a folder that its writer keeps locked. The kernel frees
what a killed process had locked, so the next save beside it knows that it is abandoned, and removes it.
"""

from __future__ import annotations

import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

try:
    import fcntl
except ImportError:  # pragma: no cover  # where there are no such locks nothing is removed
    fcntl = None  # type: ignore[assignment]

MANIFEST, STATE, TENSORS = "manifest.json", "state.json", "tensors.safetensors"
READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe keeps nobody waiting
OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of this machine since it was started; of Linux alone
T = TypeVar("T")


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged, or not what the caller can take; nothing was changed."""


def resolved(directory: Path) -> Path:
    """Return the absolute path. Raises CheckpointError if there can be nothing: a loop, a name too long."""
    try:
        path = Path(directory).resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{directory}: not a place for a checkpoint: {error}") from error
    return path


def undisturbed(directory: Path, look: Callable[[Path], T]) -> T:
    """Return what `look` finds where the checkpoint lies; where that is replaced meanwhile, it looks again.

    Raises its CheckpointError if the place was the same before and after.
    """
    while True:
        where, before = _present(directory)
        try:
            return look(where)
        except CheckpointError:
            if _present(directory) == (where, before):
                raise


def _present(directory: Path) -> tuple[Path, tuple[int, ...]]:
    """Return where the checkpoint lies, aside if a process died while replacing it, and what tells it."""
    aside = _aside(directory)
    where = aside if not directory.exists() and os.path.isfile(aside / MANIFEST) else directory
    with suppress(OSError):
        found = where.stat()
        return where, (found.st_dev, found.st_ino, found.st_mtime_ns)
    return where, ()


def opened(path: Path) -> BinaryIO:
    """Open a file to read. Raises CheckpointError for what is none, a pipe or a device among it."""
    try:
        descriptor = os.open(path, READ)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path}: cannot be read: not a regular file")
    return open(descriptor, "rb")


def require_free_aside(directory: Path) -> None:
    """Raise CheckpointError if where the older checkpoint is to step aside lies anything else than one."""
    aside = _aside(directory)
    resolved(aside)
    if aside.is_symlink() or (aside.exists() and not (aside.is_dir() and _is_ours(os.listdir(aside)))):
        raise CheckpointError(
            f"{aside}: an older {directory.name} would lie here while it is replaced, but what is here is "
            "no checkpoint of ours alone; move it away"
        )


def commit_folder(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files as the folder `directory`, in place of an older checkpoint, atomically and durably."""
    _remove_abandoned(directory.parent)
    temporary = directory.parent / f"{_temporary_prefix()}{uuid.uuid4().hex}"
    temporary.mkdir(mode=0o700)
    try:
        with _locked(temporary, wait=True):
            for name, data in files.items():
                _write_durably(temporary / name, data)
            _sync_directory(temporary)
            _put_in_place(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _temporary_prefix() -> str:
    """Return how the names of folders begin that this machine writes; locks of others may be unknown here."""
    try:
        return f".tmp-{BOOT_ID.read_text().strip().replace('-', '')}-"
    except OSError:
        return ".tmp--"


def _remove_abandoned(parent: Path) -> None:
    """Remove what killed processes of this machine were writing. What cannot be removed stays.

    An empty folder stays too: its writer may not have come to lock it yet.
    """
    prefix = _temporary_prefix()
    if prefix == ".tmp--":
        return
    with suppress(OSError):
        for name in [name for name in os.listdir(parent) if name.startswith(prefix)]:
            _remove_unlocked(parent / name)


def _remove_unlocked(temporary: Path) -> None:
    """Remove a temporary folder, unless its writer lives or has put it in place by now."""
    with suppress(OSError), _locked(temporary, wait=False) as folder:
        if folder is None or not os.path.samestat(os.fstat(folder), os.stat(temporary)):
            return
        names = os.listdir(folder)
        if names and set(names) <= {MANIFEST, STATE, TENSORS}:
            for name in names:
                os.unlink(name, dir_fd=folder)
            temporary.rmdir()


@contextmanager
def _locked(folder: Path, *, wait: bool) -> Iterator[int | None]:
    """Open a folder and lock it; None if somebody else has locked it, or no locks are known there.

    A writer waits, for one who looks whether the folder is abandoned locks it for a moment.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(folder, OPEN_FOLDER)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            locked = True
        except OSError:
            locked = False
        yield descriptor if locked else None
    finally:
        os.close(descriptor)


def _put_in_place(temporary: Path, directory: Path) -> None:
    aside = _aside(directory)
    try:
        if directory.exists():
            remove_leftover(directory)
            directory.rename(aside)
        temporary.rename(directory)
    except BaseException:
        if aside.exists() and not directory.exists():
            aside.rename(directory)
        raise
    try:
        _sync_directory(directory.parent)
    finally:
        _remove_aside(directory, lambda: None)


def remove_leftover(directory: Path) -> None:
    """Remove the older checkpoint that a process left aside which died before it did so itself.

    Else it would come back when `directory` is deleted. What cannot be removed stays.
    """
    if os.path.isdir(_aside(directory)):
        _remove_aside(directory, lambda: _sync_directory(directory.parent))


def _remove_aside(directory: Path, settle: Callable[[], None]) -> None:
    """Remove what lies aside if it is a checkpoint of ours that `directory` took the place of.

    Another process may replace `directory` at the same time: what is removed is the folder that was
    opened, wherever it lies by then, and it was not the newest one when `directory` was looked at.
    """
    with suppress(OSError):
        aside = os.open(_aside(directory), OPEN_FOLDER)
        try:
            if os.path.samestat(os.fstat(aside), os.stat(directory)) or not _is_ours(os.listdir(aside)):
                return
            settle()
            for name in (STATE, TENSORS, MANIFEST):  # what is removed in part is still known as ours
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=aside)
            _aside(directory).rmdir()
        finally:
            os.close(aside)


def _is_ours(names: Iterable[str]) -> bool:
    found = set(names)
    return found <= {MANIFEST, STATE, TENSORS} and (not found or MANIFEST in found)


def _aside(directory: Path) -> Path:
    return directory.parent / f".{directory.name}.replaced"


def _write_durably(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
