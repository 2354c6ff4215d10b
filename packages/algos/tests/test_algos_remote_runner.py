"""What a runner does with the requests and the weights that it gets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlmodule_algos import PPOConfig
from rlmodule_algos.execution.messages import Request, Snapshot
from rlmodule_algos.execution.remote_runner import RemoteRunner
from rlmodule_algos.learning import Added
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_algos.runner_setup import RunnerSetup
from rlmodule_algos.sampling import EpisodeCounts
from rlmodule_algos.testing import CrossedAgents
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import SingleAgentRLModuleSpec

torch = pytest.importorskip("torch")


def setup(env: Any, seed: int = 0) -> RunnerSetup:
    config = PPOConfig().environment(env).env_runners(num_envs_per_env_runner=2)
    config.training(model={"fcnet_hiddens": [8]})
    if env is CrossedAgents:
        config.multi_agent(policy_mapping_fn=lambda agent: agent)
    return RunnerSetup(config, PPOTorchRLModule, PPOCatalog, seed)


def asked(sequence: int, seed: int) -> Request:
    return Request(sequence, epoch=0, num_env_steps=20, seed=seed)


def started(env: Any, seed: int = 1) -> RemoteRunner:
    """A runner with weights that do not depend on its seed."""
    runner = RemoteRunner(lambda seed: setup(env, seed), 0, 1, seed)
    modules = setup(env, seed=5).modules
    runner.apply(Snapshot(0, 0, modules.get_state(), {}, tuple(modules)))
    return runner


def test_another_seed_starts_the_runner_as_if_it_had_always_had_it() -> None:
    episodes: list[EpisodeCounts] = []
    moved, fresh = started("CartPole-v1", seed=1), started("CartPole-v1", seed=1)
    moved.sample(asked(0, seed=1))
    moved.sample(asked(1, seed=1))
    for number in range(2):  # the second goes on where the first ended
        first, second = moved.sample(asked(2 + number, seed=9)), fresh.sample(asked(number, seed=9))
        for one, other in zip(first.fragments.values(), second.fragments.values(), strict=True):
            np.testing.assert_array_equal(one.obs, other.obs)
            np.testing.assert_array_equal(one.actions, other.actions)
        assert first.episodes == second.episodes
        episodes.append(first.episodes)
    assert episodes[0] != episodes[1]


def test_another_seed_reaches_what_a_module_draws_from_its_framework() -> None:
    runner = started("CartPole-v1")
    torch.manual_seed(3)
    runner.sample(asked(0, seed=9))

    assert torch.initial_seed() == 9


def test_fragments_come_of_the_modules_that_learn_alone() -> None:
    runner = started(CrossedAgents)
    states = setup(CrossedAgents).modules.get_state()
    assert set(runner.sample(asked(0, seed=1)).fragments) == {"a0", "a1", "a2"}
    runner.apply(Snapshot(1, 1, states, {}, ("a1",)))

    assert set(runner.sample(asked(1, seed=1)).fragments) == {"a1"}


def test_a_module_with_a_memory_may_take_the_place_of_one_with_another_or_none() -> None:
    runner, learner = started(CrossedAgents), setup(CrossedAgents)
    runner.sample(asked(0, seed=1))  # leaves steps open, and agents in the middle of an episode
    large, small = (
        SingleAgentRLModuleSpec(
            model_config_dict={
                "fcnet_hiddens": [8],
                "use_lstm": True,
                "lstm_cell_size": size,
                "max_seq_len": 5,
            }
        )
        for size in (8, 4)
    )
    for number, spec in enumerate([large, small, None], start=1):
        learner.modules.remove_module("a0")
        learner.modules.add_module("a0", learner.build_module("a0", spec))
        states, added = learner.modules.get_state(), {"a0": Added(number, spec)}
        runner.apply(Snapshot(number, number, states, added, tuple(learner.modules)))
        fragments = runner.sample(asked(number, seed=1)).fragments

        assert set(fragments) == {"a0", "a1", "a2"}
        assert (fragments["a0"].sequences is None) == (spec is None)
