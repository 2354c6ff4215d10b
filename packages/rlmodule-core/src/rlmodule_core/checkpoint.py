"""State trees on disk: whole or absent, and never code.

A state tree is nested dicts whose leaves are NumPy arrays or JSON values. One checkpoint is one
directory: `tensors.safetensors` holds the arrays by path, `state.json` everything else, and
`manifest.json`, written last, names both files with their sizes and SHA-256. It appears under its
final name by one rename, after every byte was flushed to the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

FORMAT_VERSION = 1
MANIFEST, STATE, TENSORS = "manifest.json", "state.json", "tensors.safetensors"
SEPARATOR = "/"


class CheckpointError(ValueError):
    """A checkpoint that is absent, damaged, or not what the caller can take; nothing was changed."""


def write_checkpoint(directory: Path, state: Mapping[str, Any], *, kind: str, replace: bool = False) -> None:
    """Write a state tree as the new directory `directory`, atomically and durably.

    `kind` says what the tree is the state of; reading checks it. With `replace` an older checkpoint
    of that name gives way. Raises CheckpointError if the name is taken or the tree has a leaf of
    another type.
    """
    directory = Path(directory).absolute()
    _check_target(directory, kind, replace)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    rest = _split(state, arrays, path=())
    files = {STATE: _to_json(rest), TENSORS: save_tensors(arrays)}
    manifest = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "files": {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()},
    }
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = directory.parent / f".tmp-{os.getpid()}-{uuid.uuid4().hex}"
    temporary.mkdir(mode=0o700)
    try:
        for name, data in {**files, MANIFEST: _to_json(manifest)}.items():
            _write_durably(temporary / name, data)
        _sync_directory(temporary)
        _commit(temporary, directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_checkpoint(directory: Path, *, kind: str) -> dict[str, Any]:
    """Return the state tree that `write_checkpoint` wrote, after checking every byte.

    Raises CheckpointError that names the file at fault.
    """
    directory = Path(directory).absolute()
    manifest = _read_manifest(directory)
    if manifest["kind"] != kind:
        raise CheckpointError(f"{directory}: holds a checkpoint of {manifest['kind']!r}, expected {kind!r}")
    data = {name: _read_verified(directory / name, manifest["files"].get(name)) for name in (STATE, TENSORS)}
    try:
        arrays = load_tensors(data[TENSORS])
        rest = json.loads(data[STATE])
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{directory}: its content cannot be read: {error}") from error
    tree: dict[str, Any] = rest
    for path, array in arrays.items():
        *parents, last = path.split(SEPARATOR)
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = array
    return tree


def is_checkpoint(directory: Path) -> bool:
    """Whether the directory holds a committed checkpoint (its bytes are not verified)."""
    return (Path(directory) / MANIFEST).is_file()


def _check_target(directory: Path, kind: str, replace: bool) -> None:
    if not directory.exists():
        return
    if replace and (directory.is_dir() and not any(directory.iterdir())):
        return
    if replace and is_checkpoint(directory) and _read_manifest(directory)["kind"] == kind:
        return
    raise CheckpointError(f"{directory}: exists already and is not a {kind} checkpoint to replace")


def _commit(temporary: Path, directory: Path) -> None:
    old = None
    if directory.exists():  # a directory cannot be renamed over a full one, so the old one steps aside
        old = directory.parent / f".trash-{uuid.uuid4().hex}"
        directory.rename(old)
    temporary.rename(directory)
    _sync_directory(directory.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{directory}: no checkpoint here ({MANIFEST} is missing)")
    try:
        manifest = json.loads(path.read_bytes())
        if not isinstance(manifest["kind"], str) or not isinstance(manifest["files"], dict):
            raise ValueError("its fields have the wrong types")
        version = manifest["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version!r}, this version reads format {FORMAT_VERSION}")
    return dict(manifest)


def _read_verified(path: Path, entry: Any) -> bytes:
    if not path.is_file() or not isinstance(entry, dict):
        raise CheckpointError(f"{path}: missing")
    if path.stat().st_size != entry.get("size"):
        raise CheckpointError(f"{path}: has {path.stat().st_size} bytes, expected {entry.get('size')}")
    data = path.read_bytes()
    if _sha256(data) != entry.get("sha256"):
        raise CheckpointError(f"{path}: damaged, its SHA-256 is not the manifest's")
    return data


def _split(node: Mapping[str, Any], arrays: dict[str, np.ndarray[Any, Any]], path: tuple[str, ...]) -> Any:
    """Move the arrays of a tree into `arrays` and return what is left of it."""
    rest: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(key, str) or SEPARATOR in key:
            raise CheckpointError(f"{'.'.join(path)}: a key must be a str without {SEPARATOR!r}, got {key!r}")
        if isinstance(value, np.ndarray):
            arrays[SEPARATOR.join((*path, key))] = np.ascontiguousarray(value).reshape(value.shape)
        elif isinstance(value, Mapping):
            rest[key] = _split(value, arrays, (*path, key))
        else:
            rest[key] = value
    return rest


def _to_json(data: Any) -> bytes:
    try:
        return json.dumps(data, indent=1).encode()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the state holds a value that is neither array nor JSON: {error}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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


def numbered_checkpoints(folder: Path) -> Iterator[Path]:
    """Yield the committed checkpoints `ckpt_<number>` of a folder, the newest first."""
    found = [path for path in Path(folder).glob("ckpt_*") if path.name[5:].isdigit() and is_checkpoint(path)]
    yield from sorted(found, key=lambda path: int(path.name[5:]), reverse=True)
