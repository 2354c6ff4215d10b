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
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from rlmodule_core.checkpoint_folder import (
    MANIFEST,
    STATE,
    TENSORS,
    commit_folder,
    opened,
    remove_leftover,
    require_free_aside,
    resolved,
    undisturbed,
)
from rlmodule_core.checkpoint_folder import CheckpointError as CheckpointError

FORMAT_VERSION = 1
NUMBERED = re.compile("ckpt_([0-9]{1,18})")
SEPARATOR = "/"
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES = ("bool", *INTEGERS, "float16", "float32", "float64", "complex64")


def write_checkpoint(directory: Path, state: Mapping[str, Any], *, kind: str, replace: bool = False) -> None:
    """Write a state tree as the new directory `directory`, atomically and durably.

    `kind` says what the tree is the state of; reading checks it. With `replace` an older checkpoint
    of that name gives way. NumPy scalars come back as arrays of rank 0 (a float64 is a float to
    Python, and comes back as one), tuples as lists. An array that the tree holds in several places is
    written once and is one array again when read.

    Raises CheckpointError if the name is taken or none, or the tree has a leaf of another type, and
    OSError where the disk refuses; what was there before is still there then.
    """
    directory = resolved(directory)
    _check_target(directory, kind, replace)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    rest = _split(state, arrays, path=())
    owners: dict[int, str] = {}
    same = {path: owners.setdefault(id(array), path) for path, array in arrays.items()}
    written = {
        path: np.ascontiguousarray(arrays[path]).reshape(arrays[path].shape) for path in owners.values()
    }
    files = {STATE: _to_json(rest), TENSORS: save_tensors(written)}
    manifest = {
        "format": FORMAT_VERSION,
        "kind": kind,
        "same": {path: owner for path, owner in same.items() if path != owner},
        "files": {name: {"size": len(data), "sha256": _sha256(data)} for name, data in files.items()},
    }
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{directory}: cannot be made below {error.filename}, which is a file"
        ) from error
    commit_folder(directory, {**files, MANIFEST: _to_json(manifest)})


def read_checkpoint(directory: Path, *, kind: str) -> dict[str, Any]:
    """Return the state tree that `write_checkpoint` wrote, after checking every byte.

    While somebody replaces the checkpoint, it is the older or the newer one. Raises
    CheckpointError that names the file at fault.
    """
    place = resolved(directory)
    directory, manifest, state, tensors = undisturbed(place, lambda where: _read_files(where, kind))
    tree = _parse(directory / STATE, state)
    try:
        arrays = load_tensors(tensors)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{directory / TENSORS}: cannot be read: {error}") from error
    for path, owner in manifest["same"].items():
        if path in arrays or not isinstance(owner, str) or owner not in arrays:
            raise CheckpointError(f"{directory / MANIFEST}: damaged: {path} cannot be the same as {owner}")
    arrays |= {path: arrays[owner] for path, owner in manifest["same"].items()}
    for path, array in arrays.items():
        if not _put(tree, path.split(SEPARATOR), array):
            raise CheckpointError(f"{directory / TENSORS}: {path} does not fit into {STATE}")
    if directory == place:
        remove_leftover(place)
    return tree


def _read_files(directory: Path, kind: str) -> tuple[Path, dict[str, Any], bytes, bytes]:
    """Return the folder, its manifest and what the two other files hold, which are open before they are read.

    So they are of one checkpoint, or their hashes tell.
    """
    manifest = _read_manifest(directory)
    if manifest["kind"] != kind:
        raise CheckpointError(
            f"{directory / MANIFEST}: a checkpoint of {manifest['kind']!r}, expected one of {kind!r}"
        )
    with ExitStack() as stack:
        files = [
            (directory / name, stack.enter_context(opened(directory / name)), manifest["files"].get(name))
            for name in (STATE, TENSORS)
        ]
        state, tensors = (_read_verified(path, file, entry) for path, file, entry in files)
    return directory, manifest, state, tensors


def is_checkpoint(directory: Path) -> bool:
    """Whether the directory holds a committed checkpoint (its bytes are not verified)."""
    try:
        undisturbed(resolved(directory), _require_manifest)
    except CheckpointError:
        return False
    return True


def _require_manifest(directory: Path) -> None:
    path = directory / MANIFEST
    try:
        found = path.is_file()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    if not found:
        raise CheckpointError(f"{path}: missing, so there is no checkpoint here")


def _check_target(directory: Path, kind: str, replace: bool) -> None:
    require_free_aside(directory)
    if not directory.exists():
        return
    if not replace:
        raise CheckpointError(f"{directory}: exists already; choose another name, or replace it")
    found = {path.name for path in directory.iterdir()} if directory.is_dir() else {"a file"}
    others = sorted(found - {MANIFEST, STATE, TENSORS})
    if not found or (not others and _read_manifest(directory)["kind"] == kind):
        return
    raise CheckpointError(
        f"{directory}: not replaced, since it is not a {kind} checkpoint alone"
        + (f"; it holds {', '.join(others)}" if others else "")
    )


def _read_manifest(directory: Path) -> dict[str, Any]:
    _require_manifest(directory)
    path = directory / MANIFEST
    with opened(path) as file:
        manifest = _parse(path, _read(path, file))
    missing = [name for name in ("format", "kind", "same", "files") if name not in manifest]
    if missing:
        raise CheckpointError(f"{path}: damaged: {', '.join(missing)} missing")
    if manifest["format"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format {manifest['format']!r}, this version reads format {FORMAT_VERSION}"
        )
    kinds = {"kind": str, "same": dict, "files": dict}
    if not all(isinstance(manifest[name], kind) for name, kind in kinds.items()):
        raise CheckpointError(f"{path}: damaged: its fields have the wrong types")
    return manifest


def _read_verified(path: Path, file: BinaryIO, entry: Any) -> bytes:
    if not isinstance(entry, dict):
        raise CheckpointError(f"{path}: {MANIFEST} does not list it")
    size = os.fstat(file.fileno()).st_size
    if size != entry.get("size"):  # before memory is taken for it
        raise CheckpointError(f"{path}: has {size} bytes, {MANIFEST} says {entry.get('size')}")
    data = _read(path, file)
    if _sha256(data) != entry.get("sha256"):
        raise CheckpointError(f"{path}: damaged, its SHA-256 is not the one in {MANIFEST}")
    return data


def _read(path: Path, file: BinaryIO) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(data, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error
    if not isinstance(parsed, dict):
        raise CheckpointError(f"{path}: damaged: expected an object, got {type(parsed).__name__}")
    return parsed


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def _put(tree: dict[str, Any], path: list[str], array: np.ndarray[Any, Any]) -> bool:
    """Put an array where `_split` took it from; False if something else is there."""
    *parents, last = path
    node = tree
    for key in parents:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            return False
    if last in node:
        return False
    node[last] = array
    return True


def _split(node: Mapping[str, Any], arrays: dict[str, np.ndarray[Any, Any]], path: tuple[str, ...]) -> Any:
    """Move the arrays of a tree into `arrays` and return what is left of it."""
    rest: dict[str, Any] = {}
    for key, value in node.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{'.'.join(path) or '(root)'}: a key must be a str, got {key!r}")
        here = (*path, key)
        if isinstance(value, np.generic) and not isinstance(value, (float, str)):
            value = np.asarray(value)
        if isinstance(value, np.ndarray):
            if value.dtype.name not in DTYPES:
                raise CheckpointError(f"{'.'.join(here)}: an array of {value.dtype} cannot be saved")
            if any(SEPARATOR in part for part in here) or here == ("__metadata__",):
                raise CheckpointError(
                    f"{'.'.join(here)}: the keys above an array must be without {SEPARATOR!r}, and not "
                    "'__metadata__'"
                )
            arrays[SEPARATOR.join(here)] = value
        elif isinstance(value, Mapping):
            rest[key] = _split(value, arrays, here)
        else:
            rest[key] = _as_json(value, ".".join(here))
    return rest


def _as_json(value: object, path: str) -> Any:
    """Return a leaf as JSON has it. Raises CheckpointError that names what has no such form."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_as_json(element, f"{path}[{index}]") for index, element in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _as_json(element, f"{path}.{key}") for key, element in value.items()}
    raise CheckpointError(f"{path}: expected an array or a JSON value, got {type(value).__qualname__}")


def _to_json(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def numbered_checkpoints(folder: Path) -> Iterator[Path]:
    """Yield the committed checkpoints `ckpt_<number>` of a folder, the one of the largest number first."""
    names = {path.name.removeprefix(".").removesuffix(".replaced") for path in Path(folder).glob("*ckpt_*")}
    found = [(int(match[1]), name) for name in names if (match := NUMBERED.fullmatch(name))]
    paths = (Path(folder) / name for _, name in sorted(found, reverse=True))
    yield from filter(is_checkpoint, paths)
