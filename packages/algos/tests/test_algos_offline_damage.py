"""Files that are damaged, dangerous or not there, and files that must not become so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos.offline import OfflineDataError, OfflineEpisode, read_episodes, write_episodes

pytest.importorskip("pyarrow", reason="the extra `offline` is not installed")


def numbered(first: int, steps: int, *, terminated: bool = True) -> OfflineEpisode:
    numbers = np.arange(first, first + steps + 1, dtype=np.float32)
    return OfflineEpisode(
        obs=numbers[:, None],
        actions=numbers[:-1].astype(np.int64),
        rewards=np.full(steps, 0.5, np.float32),
        terminated=terminated,
        truncated=not terminated,
    )


EPISODES = [numbered(10, 2), numbered(20, 1, terminated=False)]


def refusal(input_: Any) -> str:
    with pytest.raises(OfflineDataError) as caught:
        read_episodes(input_)
    return str(caught.value)


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.empty(3, object)
    trap[:] = [Trap()] * 3
    path = tmp_path / "data.npz"
    np.savez(path, obs=trap, actions=np.zeros(2), rewards=np.zeros(2), terminated=True, truncated=False)

    assert "column 'obs': it holds Python objects, which are refused" in refusal(path)
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_not_what_their_name_says_are_refused(tmp_path: Path) -> None:
    for suffix, said in ((".npz", "not a file that np.savez wrote"), (".parquet", "not a Parquet file")):
        path = tmp_path / f"data{suffix}"
        path.write_bytes(b"no such thing")
        assert refusal(path).startswith(f"{path}: {said}")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    assert "expected several columns, got a single array" in refusal(tmp_path / "array.npz")


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    for suffix in (".npz", ".parquet"):
        path = tmp_path / f"data{suffix}"
        write_episodes(path, [numbered(0, 5000)])
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert refusal(path).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.npz", "there is no file or folder"),
        ("missing", "there is no file or folder"),
        ("empty", "no .npz, .parquet, .pq file, and no Minari dataset; it has no files"),
        ("notes", "no .npz, .parquet, .pq file, and no Minari dataset; it has ['a.txt']"),
        ("notes/a.txt", "expected one of .npz, .parquet, .pq, got '.txt'"),
    ],
)
def test_a_path_without_data_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")

    assert said in refusal(str(tmp_path / name))


def test_what_cannot_be_written_is_refused_and_an_older_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    write_episodes(path, EPISODES)
    wide = OfflineEpisode(
        obs=EPISODES[0].obs.astype(np.float64),
        actions=EPISODES[0].actions,
        rewards=EPISODES[0].rewards,
        terminated=True,
        truncated=False,
    )
    for given, said in (
        ([EPISODES[0], wide], r"episode 1: obs: expected float32 \[1\] as in episode 0, got float64 \[1\]"),
        ([], "expected at least one episode"),
    ):
        with pytest.raises(OfflineDataError, match=said):
            write_episodes(path, given)
    with pytest.raises(OfflineDataError, match=r"expected one of \.npz, \.parquet, \.pq, got '\.csv'"):
        write_episodes(tmp_path / "data.csv", EPISODES)

    assert read_episodes(path) == EPISODES
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(file: Any, **columns: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    path = tmp_path / "data.npz"
    write_episodes(path, EPISODES)
    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        write_episodes(path, EPISODES[:1])

    assert read_episodes(path) == EPISODES
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


@pytest.mark.parametrize("obs", [{}, {"x": {3: np.zeros(2)}}])
def test_nests_that_have_no_names_in_a_file_are_refused(tmp_path: Path, obs: Any) -> None:
    episode = {
        "obs": obs or {"x": np.zeros(2), "y": {}},
        "actions": np.zeros(1),
        "rewards": np.zeros(1),
        "terminated": True,
        "truncated": False,
    }

    with pytest.raises(
        OfflineDataError, match=r"an empty dict has no columns|keys are strings in a file, got 3"
    ):
        write_episodes(tmp_path / "data.npz", [episode])


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.parquet"
    write_episodes(path, EPISODES)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(
        ImportError, match=r"data\.parquet needs pyarrow: pip install 'rlmodule-algos\[offline\]'"
    ):
        read_episodes(path)
