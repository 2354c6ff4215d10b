"""Minari datasets, made here: nothing is downloaded."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import BCConfig
from rlmodule_algos.offline import (
    OfflineDataError,
    OfflineEpisode,
    check_episodes,
    read_episodes,
    record_episodes,
    write_episodes,
)

minari = pytest.importorskip("minari", reason="the extra `offline` is not installed")

OBS = spaces.Dict(
    {
        "arm": spaces.Tuple((spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3))),
        "eye": spaces.Box(0, 255, (8, 8, 3), np.uint8),
    }
)
ACTIONS = spaces.Discrete(5, start=2)


def recorded(steps: int, seed: int) -> OfflineEpisode:
    rng = np.random.default_rng(seed)
    arm = (rng.uniform(-1, 1, (steps + 1, 2)).astype(np.float32), rng.integers(0, 3, steps + 1))
    return OfflineEpisode(
        obs={"arm": arm, "eye": rng.integers(0, 256, (steps + 1, 8, 8, 3), np.uint8)},
        actions=rng.integers(2, 7, steps),
        rewards=rng.normal(size=steps).astype(np.float32),
        terminated=seed % 2 == 0,
        truncated=seed % 2 == 1,
    )


EPISODES = [recorded(3, 0), recorded(1, 1), recorded(5, 2)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def make_dataset(
    name: str,
    data_format: str,
    episodes: list[OfflineEpisode] = EPISODES,
    observation_space: spaces.Space[Any] = OBS,
    action_space: spaces.Space[Any] = ACTIONS,
) -> None:
    from minari.data_collector import EpisodeBuffer

    last = [np.arange(episode.num_steps) == episode.num_steps - 1 for episode in episodes]
    buffers: list[Any] = [
        EpisodeBuffer(
            id=index,
            observations=episode.obs,
            actions=episode.actions,
            rewards=list(episode.rewards),
            terminations=list(last[index] & episode.terminated),
            truncations=list(last[index] & episode.truncated),
        )
        for index, episode in enumerate(episodes)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses an author, a description and so on
        minari.create_dataset_from_buffers(
            name,
            buffers,
            observation_space=observation_space,
            action_space=action_space,
            data_format=data_format,
            jpeg_encoding=False,
        )


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_a_local_dataset_is_read_by_its_id_and_by_its_folder(home: Path, data_format: str) -> None:
    make_dataset("tests/nested-v0", data_format)

    read = read_episodes("tests/nested-v0")

    assert read == EPISODES
    assert read_episodes(home / "tests" / "nested-v0") == EPISODES
    assert read_episodes(str(home / "tests" / "nested-v0" / "data")) == EPISODES
    check_episodes(read, OBS, ACTIONS)


def lean(obs: Any) -> Any:
    """A reflex that balances CartPole."""
    return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_bc_clones_a_dataset_as_it_clones_the_episodes_that_were_put_into_it(
    home: Path, data_format: str
) -> None:
    given = record_episodes(lean, "CartPole-v1", num_episodes=4, num_envs=4, seed=0)
    env = gym.make("CartPole-v1")
    make_dataset("tests/cartpole-v0", data_format, given, env.observation_space, env.action_space)

    def clone(data: Any) -> list[dict[str, float]]:
        config = BCConfig().environment("CartPole-v1").offline_data(input_=data, validation_fraction=0.25)
        config.training(lr=1e-2, train_batch_size=500, model={"fcnet_hiddens": [16]}).debugging(seed=0)
        with config.build() as algorithm:
            return [algorithm.train()["learners"]["default_policy"] for _ in range(30)]

    learned = clone("tests/cartpole-v0")

    assert learned == clone(given) == clone(home / "tests" / "cartpole-v0")
    assert learned[-1]["validation_loss"] < 0.5 * learned[0]["validation_loss"]


def test_a_dataset_becomes_a_file_of_ours(home: Path) -> None:
    make_dataset("nested-v3", "hdf5")

    write_episodes(home / "nested.npz", read_episodes("nested-v3"))

    assert read_episodes(home / "nested.npz") == EPISODES


def test_a_dataset_that_is_not_here_is_not_downloaded(home: Path) -> None:
    said = (
        r"Minari dataset 'D4RL/door/human-v2': there is no such dataset on this machine; make it, or "
        r"download it first: minari download D4RL/door/human-v2"
    )
    with pytest.raises(OfflineDataError, match=said):
        read_episodes("D4RL/door/human-v2")


def test_a_dataset_that_is_damaged_is_refused_with_what_minari_says(home: Path) -> None:
    make_dataset("broken-v0", "hdf5")
    (home / "broken-v0" / "data" / "main_data.hdf5").write_bytes(b"no HDF5")

    with pytest.raises(
        OfflineDataError, match=r"Minari dataset '.*broken-v0.*': Minari cannot read it: OSError"
    ):
        read_episodes(home / "broken-v0")


@pytest.mark.parametrize("missing", ["minari", "h5py"])
def test_without_what_it_needs_the_error_names_the_extra(
    home: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    make_dataset("nested-v0", "hdf5")
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "minari.dataset._storages.hdf5_storage", raising=False)

    with pytest.raises(ImportError, match=r"pip install 'rlmodule-algos\[offline\]'"):
        read_episodes("nested-v0")


def test_what_only_looks_like_an_id_and_exists_is_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "mine-v1").mkdir()
    write_episodes(home / "mine-v1" / "a.npz", EPISODES)

    assert read_episodes("mine-v1") == EPISODES
