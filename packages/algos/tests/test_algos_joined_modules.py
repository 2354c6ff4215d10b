"""Modules that joined a run, and those that left it, in its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import PPO, Algorithm, MultiAgentCartPole, PPOConfig
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_core import CheckpointError, SingleAgentRLModuleSpec
from rlmodule_core.nest import map_nest


def config_of(**multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(MultiAgentCartPole)
        .env_runners(num_envs_per_env_runner=4)
        .multi_agent(**multi_agent)
        .training(model={"fcnet_hiddens": [8]}, train_batch_size=48, minibatch_size=24, num_epochs=1)
        .debugging(seed=0)
    )


def assert_same_weights(one: Algorithm[Any], other: Algorithm[Any], module_id: str) -> None:
    states = (run.get_module(module_id).get_state() for run in (one, other))
    map_nest(np.testing.assert_array_equal, *states)


def test_a_run_comes_back_from_its_checkpoint_with_the_modules_that_joined_and_without_those_that_left(
    tmp_path: Path,
) -> None:
    config = config_of(policies=["main", "spare"], policy_mapping_fn=lambda agent: "main")
    recipe = SingleAgentRLModuleSpec(module_class=PPOTorchRLModule, model_config_dict={"fcnet_hiddens": [5]})
    with config.build() as trained:
        trained.add_module("rival")
        trained.add_module("small", recipe)
        trained.add_module("gone")
        trained.remove_module("gone")
        trained.remove_module("spare")
        trained.train()
        trained.save(tmp_path)
        with PPO.from_checkpoint(tmp_path, config) as back:
            assert set(back.modules) == set(trained.modules) == {"main", "rival", "small"}
            for key in trained.modules:
                assert_same_weights(trained, back, key)
            back.train()
            back.save(tmp_path / "again")
        with PPO.from_checkpoint(tmp_path / "again", config) as again:
            assert set(again.modules) == {"main", "rival", "small"}


def test_a_module_of_a_class_of_ones_own_that_joined_must_join_by_hand_again(tmp_path: Path) -> None:
    class Mine(PPOTorchRLModule):
        pass

    config = config_of(policy_mapping_fn=lambda agent: "main")
    with config.build() as trained:
        trained.add_module("rival", SingleAgentRLModuleSpec(module_class=Mine))
        trained.save(tmp_path)
        with pytest.raises(CheckpointError, match=r"'rival' joined .*Mine.*add_module.*then restore"):
            PPO.from_checkpoint(tmp_path, config)
        with config.build() as fresh:
            fresh.add_module("rival", SingleAgentRLModuleSpec(module_class=Mine))
            fresh.restore(tmp_path)
            assert_same_weights(trained, fresh, "rival")
