"""The same run again: seeds, evaluation, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from rlmodule_algos import PPO, Algorithm, PPOConfig
from rlmodule_core import CheckpointError

SMALL: dict[str, Any] = {
    "train_batch_size": 256,
    "minibatch_size": 64,
    "num_epochs": 2,
    "model": {"fcnet_hiddens": [16]},
}


def config(env: str = "CartPole-v1", seed: int = 0, **training: Any) -> PPOConfig:
    return PPOConfig().environment(env).training(**{**SMALL, **training}).debugging(seed=seed)


def weights(algorithm: Algorithm[Any]) -> dict[str, np.ndarray[Any, Any]]:
    module = algorithm.get_module()
    assert isinstance(module, nn.Module)
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def same_weights(first: Algorithm[Any], second: Algorithm[Any]) -> bool:
    a, b = weights(first), weights(second)
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_the_same_seed_gives_the_same_run_bit_for_bit_and_another_seed_does_not() -> None:
    with config(seed=1).build() as first, config(seed=1).build() as second, config(seed=2).build() as other:
        for algorithm in (first, second, other):
            for _ in range(3):
                algorithm.train()

        assert same_weights(first, second)
        assert not same_weights(first, other)


def test_evaluation_disturbs_neither_weights_nor_counters_nor_what_comes_next() -> None:
    with config().build() as plain, config().build() as evaluated:
        for _ in range(3):
            plain.train()
            evaluated.train()
            evaluated.evaluate(3)
            evaluated.evaluate(2, explore=True)

        assert same_weights(plain, evaluated)
        assert plain.env_steps == evaluated.env_steps


def test_a_restored_run_has_the_weights_the_optimizer_and_the_counters_that_were_saved(
    tmp_path: Path,
) -> None:
    with config(use_kl_loss=True).build() as trained, config(use_kl_loss=True, seed=9).build() as fresh:
        for _ in range(3):
            trained.train()
        path = trained.save(tmp_path)
        fresh.restore(tmp_path)

        assert path == tmp_path / "ckpt_000000003"
        assert same_weights(trained, fresh)
        assert (fresh.iteration, fresh.env_steps) == (3, trained.env_steps)
        old, new = (run.get_state()["learner"]["optimizers"]["default_policy"] for run in (trained, fresh))
        for name in ("step", "exp_avg", "exp_avg_sq"):
            np.testing.assert_array_equal(new[name], old[name])
        assert fresh.get_state()["kl_coeffs"] == trained.get_state()["kl_coeffs"] != {"default_policy": 0.2}


def test_two_runs_restored_from_one_checkpoint_go_on_alike(tmp_path: Path) -> None:
    with config().build() as trained:
        trained.train()
        trained.save(tmp_path)
    with PPO.from_checkpoint(tmp_path) as first, Algorithm.from_checkpoint(tmp_path) as second:
        assert isinstance(second, PPO)
        for algorithm in (first, second):
            algorithm.train()

        assert same_weights(first, second)


def test_two_evaluations_play_episodes_of_their_own() -> None:
    with config().build() as algorithm:
        first, second = (algorithm.evaluate(8)["evaluation"]["episode_returns"] for _ in range(2))

    assert first != second


def test_a_checkpoint_of_another_architecture_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    with config().build() as small, config(model={"fcnet_hiddens": [8]}).build() as other:
        small.train()
        small.save(tmp_path)
        before = weights(other)

        with pytest.raises(CheckpointError, match=r"encoder\.actor\.layers\.0\.weight has shape \(16, 4\)"):
            other.restore(tmp_path)
        assert all(np.array_equal(before[name], array) for name, array in weights(other).items())
        assert other.iteration == 0


def test_a_run_saves_at_its_interval_and_tells_where(tmp_path: Path) -> None:
    saving = config().checkpointing(checkpoint_interval=2, checkpoint_dir=str(tmp_path))
    with saving.build() as algorithm:
        results = [algorithm.train() for _ in range(4)]
        with PPO.from_checkpoint(tmp_path) as restored:
            assert same_weights(restored, algorithm)
    paths = [str(tmp_path / f"ckpt_{iteration:09d}") for iteration in (2, 4)]
    assert ["checkpoint" in result for result in results] == [False, True, False, True]
    assert [results[1]["checkpoint"], results[3]["checkpoint"]] == paths
    assert sorted(map(str, tmp_path.iterdir())) == paths


def test_restoring_from_a_folder_without_checkpoints_says_so(tmp_path: Path) -> None:
    with config().build() as algorithm, pytest.raises(CheckpointError, match="no checkpoint here"):
        algorithm.restore(tmp_path)
