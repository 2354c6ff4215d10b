"""Files of episodes: the table that we write, the tables of others, and what is said of broken ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos.offline import OfflineDataError, OfflineEpisode, read_episodes, write_episodes

Table = dict[str, Any]
pytest.importorskip("pyarrow", reason="the extra `offline` is not installed")
SUFFIXES = [".npz", ".parquet"]


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


def save(path: Path, table: Table) -> Path:
    """Write columns as others would: with NumPy, or with lists in Parquet."""
    if path.suffix == ".npz":
        np.savez(path, **table)
        return path
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({name: np.asarray(column).tolist() for name, column in table.items()}), path)
    return path


def step_rows(**changed: Any) -> Table:
    """The two episodes with a row for each step."""
    table = {
        "obs": np.array([[10], [11], [20]], np.float32),
        "next_obs": np.array([[11], [12], [21]], np.float32),
        "actions": np.array([10, 11, 20]),
        "rewards": np.full(3, 0.5),
        "terminated": np.array([False, True, False]),
        "truncated": np.array([False, False, True]),
    }
    return {name: column for name, column in (table | changed).items() if column is not None}


def observation_rows(**changed: Any) -> Table:
    """The two episodes with a row for each observation."""
    table = {
        "is_final": np.array([False, False, True, False, True]),
        "obs": np.array([[10], [11], [12], [20], [21]], np.float32),
        "actions": np.array([10, 11, 0, 20, 0]),
        "rewards": np.array([0.5, 0.5, 0, 0.5, 0]),
        "terminated": np.array([False, True, False, False, False]),
        "truncated": np.array([False, False, False, True, False]),
    }
    return {name: column for name, column in (table | changed).items() if column is not None}


def refusal(input_: Any) -> str:
    with pytest.raises(OfflineDataError) as caught:
        read_episodes(input_)
    return str(caught.value)


def float32(episodes: Any) -> Any:
    """Parquet's lists of Python numbers are float64; the numbers are what is compared."""
    return [
        OfflineEpisode(
            obs=episode.obs.astype(np.float32),
            actions=episode.actions,
            rewards=episode.rewards,
            terminated=episode.terminated,
            truncated=episode.truncated,
        )
        for episode in episodes
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("table", [step_rows, observation_rows])
@pytest.mark.parametrize("ids", [False, True])
def test_each_layout_gives_the_same_episodes(
    tmp_path: Path, suffix: str, table: Callable[..., Table], ids: bool
) -> None:
    rows = table()
    if ids:
        rows["episode_id"] = np.array([7, 7, 8] if table is step_rows else [7, 7, 7, 8, 8])

    assert float32(read_episodes(save(tmp_path / f"data{suffix}", rows))) == EPISODES


def test_what_we_write_is_the_documented_table(tmp_path: Path) -> None:
    write_episodes(tmp_path / "data.npz", EPISODES)

    with np.load(tmp_path / "data.npz") as file:
        written = dict(file)
    expected = observation_rows() | {"episode_id": np.array([0, 0, 0, 1, 1])}
    assert set(written) == set(expected)
    for name, column in expected.items():
        np.testing.assert_array_equal(written[name], column)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_gives_the_episodes_of_all_its_files_in_the_order_of_their_names(
    tmp_path: Path, suffix: str
) -> None:
    write_episodes(tmp_path / f"b{suffix}", EPISODES[1:])
    write_episodes(tmp_path / f"a{suffix}", EPISODES[:1])
    (tmp_path / "README.md").write_text("how it was recorded")
    (tmp_path / f".hidden{suffix}").write_text("")

    assert read_episodes(str(tmp_path)) == EPISODES
    assert read_episodes([tmp_path / f"a{suffix}", str(tmp_path / f"b{suffix}")]) == EPISODES


def test_one_episode_may_be_saved_with_numpy_as_it_is(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "one.npz",
        obs=EPISODES[0].obs,
        actions=EPISODES[0].actions,
        rewards=EPISODES[0].rewards,
        terminated=np.array([False, True]),
        truncated=np.array([False, False]),
    )

    assert read_episodes(tmp_path / "one.npz") == EPISODES[:1]


def test_observations_with_a_row_more_for_each_episode_are_cut_with_the_steps(tmp_path: Path) -> None:
    rows = step_rows(next_obs=None, obs=observation_rows()["obs"])

    assert read_episodes(save(tmp_path / "flat.npz", rows)) == EPISODES


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_episodes_of_many_agents_come_back_together_whatever_their_lengths(
    tmp_path: Path, suffix: str
) -> None:
    eye = OfflineEpisode(
        obs={"eye": np.zeros((2, 4, 4), np.uint8)},
        actions=np.zeros((1, 2), np.float32),
        rewards=np.ones(1, np.float32),
        terminated=False,
        truncated=True,
    )
    together = [{"walker": EPISODES[0], "a.1": eye}, {"a.1": eye}, {"walker": EPISODES[1]}]

    write_episodes(tmp_path / f"agents{suffix}", together)

    assert read_episodes(tmp_path / f"agents{suffix}") == together


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (step_rows(rewards=None, reward=np.ones(3)), "no column 'rewards'; if 'reward' is that, rename it"),
        (step_rows(actions=None), "no column 'actions'; there are ['next_obs', 'obs', 'rewards', "),
        (step_rows(rewards=np.ones((3, 1))), "rewards: expected a number a row, got float64 [1]"),
        (step_rows(terminated=np.ones((3, 2))), "terminated: expected a number a row, got float64 [2]"),
        (step_rows(terminated=np.full(3, 0.5)), "terminated: expected a bool, or bools [T], got float64 [1]"),
        (step_rows(episode_id=np.ones(3)), "episode_id: expected an integer a row, got float64 []"),
        (
            step_rows(next_obs=np.array([[99], [12], [21]], np.float32)),
            "next_obs: row 0 is not obs of row 1, and no episode ends between them (1 such rows)",
        ),
        (
            step_rows(next_obs=np.zeros((3, 2), np.float32)),
            "next_obs: expected structure and dtypes of obs",
        ),
        (
            step_rows(next_obs=None),
            "3 steps of 2 episodes need 5 observations, obs has 3; add 'next_obs', or a row for each final",
        ),
        (
            step_rows(episode_id=np.zeros(3, np.int64), next_obs=np.array([[11], [20], [21]], np.float32)),
            "terminated: True at step 1 of 3; an episode ends there, so the rest is another",
        ),
        (step_rows(episode_id=np.array([5, 6, 5])), "episode_id: the rows of 5 are not together"),
        (
            observation_rows(is_final=np.array([False, False, True, False, False])),
            "is_final: expected True in the last row: the observation after the last step",
        ),
        (
            observation_rows(terminated=np.array([False, False, True, False, False])),
            "terminated: True in row 2, where is_final is; it belongs to the step before",
        ),
        (
            observation_rows(episode_id=np.array([0, 1, 1, 2, 2])),
            "episode_id: it changes behind row 0, where is_final is not True",
        ),
        (
            observation_rows(is_final=np.array([True, False, True, False, True])),
            "episode 0: expected at least one step, got none",
        ),
        (
            observation_rows(obs=None, **{"obs.0": np.zeros(5), "obs.2": np.zeros(5)}),
            "expected the positions 0 to 1 of a tuple, got ['0', '2']",
        ),
        (observation_rows(**{"obs.x": np.zeros(5)}), "it is a column, but so are ['obs.x']"),
        ({name: column[:0] for name, column in observation_rows().items()}, "it has no rows"),
        (
            {f"agents.a.{name}": column for name, column in step_rows().items()},
            "agent 'a': no column 'episode_id'",
        ),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_with_its_file_and_column(
    tmp_path: Path, suffix: str, table: Table, said: str
) -> None:
    if suffix == ".parquet" and not len(next(iter(table.values()))):
        import pyarrow as pa
        from pyarrow import parquet

        empty = {name: pa.array(column.reshape(-1)) for name, column in table.items()}
        parquet.write_table(pa.table(empty), path := tmp_path / "data.parquet")
    else:
        path = save(tmp_path / f"data{suffix}", table)

    message = refusal(path)

    assert said in message
    assert message.startswith(str(path))


def test_columns_of_several_lengths_are_told_with_the_length_they_should_have(tmp_path: Path) -> None:
    path = save(tmp_path / "data.npz", step_rows(actions=np.zeros(4), next_obs=np.zeros((2, 1))))

    assert refusal(path).splitlines() == [
        f"{path}: 2 problems",
        "  actions: expected 3 rows, as in rewards, got [4]",
        "  next_obs: expected 3 rows, as in rewards, got [2, 1]",
    ]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["a", "b", "c"], "column 'obs': expected numbers, or lists of numbers, got string"),
        ([1.0, None, 2.0], "column 'obs': it has no value in 1 of 3 rows"),
        ([[1.0], [1.0, 2.0], [1.0]], "column 'obs': its lists have 1 to 2 items; expected one length"),
    ],
)
def test_a_parquet_column_that_is_no_array_is_refused(tmp_path: Path, column: list[Any], said: str) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    others = {name: values.tolist() for name, values in step_rows(obs=None).items()}
    parquet.write_table(pa.table({"obs": column} | others), tmp_path / "data.parquet")

    assert said in refusal(tmp_path / "data.parquet")


def test_a_parquet_file_may_have_other_columns_row_groups_and_nested_lists(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    image = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)
    rows: Table = {name: column.tolist() for name, column in observation_rows().items()}
    rows |= {
        "obs": pa.array(image.tolist(), pa.list_(pa.list_(pa.uint8()))),
        "note": ["x", None, "", "y", "z"],
    }
    parquet.write_table(pa.table(rows), tmp_path / "data.parquet", row_group_size=2)

    first, second = read_episodes(tmp_path / "data.parquet")

    assert isinstance(first, OfflineEpisode)
    assert isinstance(second, OfflineEpisode)
    np.testing.assert_array_equal(first.obs, image[:3])
    np.testing.assert_array_equal(second.obs, image[3:])
    assert first.obs.dtype == np.uint8
