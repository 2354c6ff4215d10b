"""A build or a restore that fails leaves nothing behind, and a run as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from ray_checks import needs_ray
from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner import ActorLearnerConfig
from rlmodule_algos.appo import APPOTorchRLModule
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_core import CheckpointError, SingleAgentRLModuleSpec


def small(config: AlgorithmConfig, units: int = 8) -> Any:
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=8)
        .training(train_batch_size=64, model={"fcnet_hiddens": [units]})
        .debugging(seed=0)
    )


class CannotClose(gym.Wrapper[Any, Any, Any, Any]):
    def close(self) -> None:
        raise OSError("cannot close")


class Once(APPOTorchRLModule):
    """Can be built once in a process: there is no room for the target network."""

    built = 0

    def __init__(self, config: Any) -> None:
        type(self).built += 1
        if self.built > 1:
            raise MemoryError("no room for a second network")
        super().__init__(config)


@needs_ray
def test_a_build_that_fails_after_its_runners_were_started_ends_them() -> None:
    from rlmodule_algos.execution.ray_session import Session

    session = Session.enter(None, 1)
    try:
        closing = small(ImpalaConfig()).environment(lambda _: CannotClose(gym.make("CartPole-v1")))
        with pytest.raises(OSError, match="cannot close"):
            closing.env_runners(num_env_runners=1).build()
        assert session._users == 1  # that of this test

        spec = SingleAgentRLModuleSpec(module_class=Once)
        target = small(APPOConfig()).env_runners(num_env_runners=1).rl_module(rl_module_spec=spec)
        with pytest.raises(MemoryError, match="no room"):
            target.build()
        assert session._users == 1
    finally:
        session.leave()


@needs_ray
def test_fragments_on_ray_are_as_long_as_asked_of_a_vector_environment_of_a_size_of_its_own() -> None:
    def four(_: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        return gym.make_vec("CartPole-v1", num_envs=4)

    config = small(ImpalaConfig()).environment(four)
    config.env_runners(num_envs_per_env_runner=16, num_env_runners=1)
    with config.build() as algorithm:
        fragments = algorithm.collect().fragments["default_policy"]

    assert [fragment.rewards.shape for fragment in fragments] == [(8, 4)] * 2


@pytest.mark.parametrize("kind", [ImpalaConfig, APPOConfig])
def test_a_refused_restore_changes_nothing_of_what_comes_next(
    kind: type[ActorLearnerConfig], tmp_path: Path
) -> None:
    with small(kind(), units=16).build() as other:
        other.train()
        other.save(tmp_path)
    results = []
    for refused in (False, True):
        with small(kind()).build() as algorithm:
            for _ in range(9):
                algorithm.train()
            if refused:
                with pytest.raises(CheckpointError, match="does not fit this run"):
                    algorithm.restore(tmp_path)
            result = algorithm.train()
            results.append((result["learners"], result["env_runners"]))

    assert repr(results[0]) == repr(results[1])
