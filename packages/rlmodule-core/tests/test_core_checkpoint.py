"""Checkpoints: what goes in comes out, and damage of any kind is one CheckpointError that names the file."""

import hashlib
import json
import os
import pickle
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_core import (
    CheckpointError,
    is_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

FILES = ("manifest.json", "state.json", "tensors.safetensors")
DTYPES = ["bool", "float16", "float32", "float64", "complex64"]
DTYPES += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]


def state(seed: int = 0) -> dict[str, Any]:
    weights = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    return {"module": {"pi": {"weight": weights}, "empty": {}}, "step": 17 + seed, "name": "ü"}


def equal(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, np.ndarray):
        return (
            isinstance(second, np.ndarray)
            and (first.dtype, first.shape) == (second.dtype, second.shape)
            and first.tobytes() == second.tobytes()
        )
    return bool(first == second)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "one", state(), kind="test")
    return tmp_path / "one"


def forge(directory: Path, name: str, data: bytes) -> None:
    """Replace a file and make the manifest agree, as someone hostile would."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (directory / name).write_bytes(data)
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3), (1,)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_every_dtype_and_shape_come_back_bit_by_bit(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    array = np.random.default_rng(0).integers(0, 2, size=shape).astype(dtype)

    write_checkpoint(tmp_path / "c", {"a": {"b": array}}, kind="test")

    assert equal(read_checkpoint(tmp_path / "c", kind="test"), {"a": {"b": array}})


def test_not_a_number_infinity_order_and_byte_order_survive(tmp_path: Path) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0])
    transposed = np.arange(6.0).reshape(2, 3).T
    write_checkpoint(
        tmp_path / "c",
        {"odd": odd, "transposed": transposed, "big": transposed.astype(">f8"), "slice": odd[::-1]},
        kind="test",
    )

    read = read_checkpoint(tmp_path / "c", kind="test")

    assert read["odd"].tobytes() == odd.tobytes()
    np.testing.assert_array_equal(read["transposed"], transposed)
    np.testing.assert_array_equal(read["big"], transposed)
    np.testing.assert_array_equal(read["slice"], odd[::-1])
    read["odd"][0] = 1  # what is read can be written to


def test_json_values_come_back_and_tuples_as_lists(tmp_path: Path) -> None:
    tree = {"i": 2**70, "f": 0.1, "s": "\U0001f600", "n": None, "b": True, "l": [1, {"x": [None]}], "d": {}}

    write_checkpoint(tmp_path / "c", tree | {"t": (1, (2,))}, kind="test")

    assert read_checkpoint(tmp_path / "c", kind="test") == tree | {"t": [1, [2]]}


def test_numpy_scalars_come_back_as_arrays_of_rank_0_and_in_lists_as_numbers(tmp_path: Path) -> None:
    tree = {"f": np.float32(0.1), "i": np.int64(3), "b": np.bool_(True), "d": np.float64(0.1)}
    write_checkpoint(tmp_path / "c", tree | {"l": [np.int8(1), np.float32(0.5)]}, kind="test")

    read = read_checkpoint(tmp_path / "c", kind="test")

    assert read["d"] == 0.1
    assert read["l"] == [1, 0.5]
    for name in "fib":
        assert equal(read[name], np.asarray(tree[name]))


@pytest.mark.parametrize(
    ("leaf", "named"),
    [
        (np.array([object()]), "a.b: an array of object"),
        (np.array(["text"]), "a.b: an array of <U4"),
        (np.zeros(2, "M8[s]"), "a.b: an array of datetime64"),
        (np.zeros(2, complex), "a.b: an array of complex128"),
        (object(), "a.b: expected an array or a JSON value, got object"),
        ({1, 2}, "a.b: expected an array or a JSON value, got set"),
        (b"bytes", "a.b: expected an array or a JSON value, got bytes"),
        (np.datetime64("2020"), "a.b: an array of datetime64"),
        ([0, [np.zeros(2)]], r"a.b\[1\]\[0\]: expected an array or a JSON value, got ndarray"),
        ([{1: 2}], r"a.b\[0\]: expected an array or a JSON value, got dict"),
        ({1: 2}, "a.b: a key must be a str, got 1"),
        ({"x/y": np.ones(1)}, "a.b.x/y: the keys above an array must be without '/'"),
        ({"x/y": {"z": np.ones(1)}}, "a.b.x/y.z: the keys above an array must be without '/'"),
    ],
)
def test_a_leaf_that_cannot_be_saved_is_named_and_nothing_is_written(
    tmp_path: Path, leaf: Any, named: str
) -> None:
    with pytest.raises(CheckpointError, match=named):
        write_checkpoint(tmp_path / "c", {"a": {"b": leaf}}, kind="test")
    assert list(tmp_path.iterdir()) == []


def test_an_array_in_several_places_is_written_once_and_is_one_array_again(tmp_path: Path) -> None:
    shared, alike = np.arange(1000.0), np.arange(1000.0)
    tree = {"a": {"x": shared, "y": alike}, "b": {"x": shared}, "names/with": {"slashes": 1}}

    write_checkpoint(tmp_path / "c", tree, kind="test")
    read = read_checkpoint(tmp_path / "c", kind="test")

    assert (tmp_path / "c" / "tensors.safetensors").stat().st_size < 2.5 * shared.nbytes
    assert read["a"]["x"] is read["b"]["x"]
    assert read["a"]["x"] is not read["a"]["y"]
    for array in (read["a"]["x"], read["a"]["y"]):
        np.testing.assert_array_equal(array, shared)
    assert read["names/with"] == {"slashes": 1}


@pytest.mark.parametrize("same", [{"b": "nowhere"}, {"a": "a"}, {"b": ["a"]}, {"b": {}}, {"a/c": "a"}, []])
def test_a_manifest_that_ties_arrays_in_impossible_ways_is_refused(tmp_path: Path, same: Any) -> None:
    write_checkpoint(tmp_path / "c", {"a": np.ones(2)}, kind="test")
    manifest = tmp_path / "c" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"same": same}))

    with pytest.raises(CheckpointError, match=r"manifest\.json: damaged|does not fit"):
        read_checkpoint(tmp_path / "c", kind="test")


def test_the_name_that_safetensors_keeps_for_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="__metadata__"):
        write_checkpoint(tmp_path / "c", {"__metadata__": np.ones(1)}, kind="test")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_anywhere_is_refused_with_the_file_named(saved: Path, name: str) -> None:
    path = saved / name
    good = path.read_bytes()
    for position in range(0, len(good), max(1, len(good) // 40)):
        for flip in (0x01, 0xFF):
            path.write_bytes(good[:position] + bytes([good[position] ^ flip]) + good[position + 1 :])
            with pytest.raises(CheckpointError, match=name):
                read_checkpoint(saved, kind="test")
    path.write_bytes(good)
    assert equal(read_checkpoint(saved, kind="test"), state())


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_longer_empty_or_missing_file_is_refused_with_the_file_named(
    saved: Path, name: str
) -> None:
    path = saved / name
    good = path.read_bytes()
    for data in (b"", *(good[: len(good) * part // 20] for part in range(1, 20)), good[:-1], good + b"x"):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(saved, kind="test")
    path.unlink()
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(saved, kind="test")
    path.mkdir()  # a directory in its place
    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(saved, kind="test")


@pytest.mark.parametrize("name", ["state.json", "tensors.safetensors"])
def test_a_file_of_another_checkpoint_is_refused_with_the_file_named(saved: Path, name: str) -> None:
    other = saved.parent / "two"
    write_checkpoint(other, state(seed=1), kind="test")

    shutil.copy(other / name, saved / name)

    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(saved, kind="test")


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("name", [*FILES, "state.pkl", "module.pickle", "__init__.py"])
def test_a_pickle_under_any_name_is_never_executed(
    saved: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    bomb = pickle.dumps(Bomb())
    if name == "manifest.json":
        (saved / name).write_bytes(bomb)
    else:
        forge(saved, name, bomb)

    if name in FILES:
        with pytest.raises(CheckpointError, match=name):
            read_checkpoint(saved, kind="test")
    else:
        assert equal(read_checkpoint(saved, kind="test"), state())
    assert not Path("exploded").exists()


HOSTILE = {
    "deep nesting": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "invalid utf-8": b'{"a": "\xff\xfe"}',
    "a number of many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "a list": b"[1, 2]",
    "null": b"null",
    "twice the same key": b'{"step": 1, "step": 2}',
    "no json": b"\x00\x01",
}


@pytest.mark.parametrize("kind_of_harm", HOSTILE)
@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_hostile_json_is_refused_even_when_every_hash_is_right(
    saved: Path, name: str, kind_of_harm: str
) -> None:
    if name == "state.json":
        forge(saved, name, HOSTILE[kind_of_harm])
    else:
        (saved / name).write_bytes(HOSTILE[kind_of_harm])

    with pytest.raises(CheckpointError, match=name):
        read_checkpoint(saved, kind="test")


@pytest.mark.parametrize("leaf", [1, [], {"pi": {"weight": 3}}, {"pi": 3}])
def test_a_state_whose_leaf_is_in_the_way_of_an_array_is_refused(saved: Path, leaf: Any) -> None:
    forge(saved, "state.json", json.dumps({"module": leaf}).encode())

    with pytest.raises(CheckpointError, match=r"tensors\.safetensors: module/pi/weight does not fit"):
        read_checkpoint(saved, kind="test")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("format", None),
        ("format", float("nan")),
        ("kind", 5),
        ("files", []),
        ("files", {}),
        ("files", {"state.json": 3, "tensors.safetensors": None}),
        ("files", {"state.json": {}, "tensors.safetensors": {}}),
    ],
)
def test_a_manifest_with_wrong_fields_is_refused(saved: Path, field: str, value: Any) -> None:
    path = saved / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {field: value}))
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        read_checkpoint(saved, kind="test")

    del manifest[field]
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=rf"manifest\.json: damaged: {field} missing"):
        read_checkpoint(saved, kind="test")


def test_a_newer_format_and_another_kind_are_told_apart_from_damage(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="a checkpoint of 'test', expected one of 'other'"):
        read_checkpoint(saved, kind="other")
    path = saved / "manifest.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(CheckpointError, match="format 2, this version reads format 1"):
        read_checkpoint(saved, kind="test")


def test_a_copy_without_times_or_with_other_files_beside_still_loads(saved: Path) -> None:
    copied = saved.parent / "elsewhere" / "deep"
    shutil.copytree(saved, copied, copy_function=shutil.copyfile)
    for path in copied.iterdir():
        os.utime(path, (0, 0))
    (copied / "notes.txt").write_text("mine")

    assert equal(read_checkpoint(copied, kind="test"), state())


def test_nothing_there_is_a_checkpoint_error_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        assert not is_checkpoint(path)
        with pytest.raises(CheckpointError, match=r"manifest\.json: missing, so there is no checkpoint here"):
            read_checkpoint(path, kind="test")


def test_files_are_for_the_owner_alone(saved: Path) -> None:
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved.iterdir()} == {0o600}
