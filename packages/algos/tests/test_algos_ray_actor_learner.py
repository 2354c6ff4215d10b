"""IMPALA and APPO on Ray: runners go on while the learner learns, and every step is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import ray_checks
from ray_checks import fragments_add_up, steps_add_up
from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner.config import ActorLearnerConfig
from rlmodule_algos.appo import APPOTorchRLModule
from rlmodule_algos.execution import EnvRunnerError, RemotePool
from rlmodule_algos.testing import CrossedAgents
from rlmodule_core import SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves

one_ray, pytestmark = ray_checks.one_ray, ray_checks.needs_ray


def settings(
    kind: type[ActorLearnerConfig], env: Any = "CartPole-v1", runners: int = 2
) -> ActorLearnerConfig:
    return (
        kind()
        .environment(env)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=4, rollout_fragment_length=16)
        .training(train_batch_size=128, model={"fcnet_hiddens": [16]})
        .fault_tolerance(restart_delay_s=0.1)
        .debugging(seed=0)
    )


# --- starting ---------------------------------------------------------------------------------


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


def test_a_build_that_fails_after_its_runners_were_started_ends_them() -> None:
    from rlmodule_algos.execution.ray_session import Session

    session = Session.current
    assert session is not None
    others = session._users
    closing = settings(ImpalaConfig, lambda _: CannotClose(gym.make("CartPole-v1")), runners=1)
    with pytest.raises(OSError, match="cannot close"):
        closing.build()
    assert session._users == others

    target = settings(APPOConfig, runners=1)
    target.rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Once))
    with pytest.raises(MemoryError, match="no room"):
        target.build()
    assert session._users == others


def test_fragments_are_as_long_as_asked_of_a_vector_environment_of_a_size_of_its_own() -> None:
    def two(_: Any) -> gym.vector.VectorEnv[Any, Any, Any]:
        return gym.make_vec("CartPole-v1", num_envs=2)

    with settings(ImpalaConfig, two, runners=1).build() as algorithm:
        fragments = algorithm.collect().fragments["default_policy"]  # type: ignore[attr-defined]

    assert [fragment.rewards.shape for fragment in fragments] == [(16, 2)] * 4


# --- what is learned from ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ImpalaConfig, APPOConfig])
def test_steps_add_up_weights_move_and_lag_is_told(kind: type[ActorLearnerConfig]) -> None:
    lags, trained = [], 0
    with settings(kind).build() as algorithm:
        pool = algorithm.pool  # type: ignore[attr-defined]
        assert isinstance(pool, RemotePool)
        before = algorithm.get_module().get_state()
        for _ in range(8):
            result = algorithm.train()
            steps, health = result["env_runners"], result["fault_tolerance"]
            trained += steps["num_env_steps_trained"]
            learned = result["learners"].get("default_policy")  # APPO begins when its buffer is full
            lags += [] if learned is None else [learned["lag_min"], learned["lag_mean"], learned["lag_max"]]

            assert steps_add_up(steps)
            assert fragments_add_up(health)
        receipts = list(pool.receipts)
        after = algorithm.get_module().get_state()

    pairs = zip(leaves(before), leaves(after), strict=True)
    assert not any(np.array_equal(old, new) for old, new in pairs)
    assert steps["num_env_steps_trained_lifetime"] == trained > 0
    assert steps["num_env_steps_sampled_lifetime"] == sum(one.num_env_steps for one in receipts)
    assert lags
    assert min(lags) >= 0
    assert max(lags) < 100
    for runner in range(2):
        came = [receipt for receipt in receipts if receipt.runner == runner]
        assert [receipt.sequence for receipt in came] == list(range(len(came)))
        versions = [receipt.weights_version for receipt in came]
        assert versions == sorted(versions)
    assert max(receipt.weights_version for receipt in receipts) > 0


def env_that_gives(reward: Callable[[], float]) -> Callable[[Mapping[str, Any]], gym.Env[Any, Any]]:
    """An environment made here, so that it travels by value."""

    class Env(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return np.zeros(2, np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return np.zeros(2, np.float32), reward(), False, False, {}

    return lambda _: Env()


def test_an_environment_that_always_gives_nan_ends_the_run_with_where_it_was() -> None:
    environment = env_that_gives(lambda: float("nan"))
    with (
        settings(ImpalaConfig, environment, runners=1).build() as algorithm,
        pytest.raises(EnvRunnerError) as caught,
    ):
        algorithm.train()

    for part in ("env runner 0, incarnation 3, seed ", "environment 0: reward is not finite at step 0"):
        assert part in str(caught.value)


def test_a_runner_that_met_a_nan_is_replaced_and_nobody_learns_from_its_fragment(tmp_path: Path) -> None:
    met = tmp_path / "met"

    def once() -> float:
        if met.exists():
            return 1.0
        met.touch()
        return float("nan")

    with settings(ImpalaConfig, env_that_gives(once)).build() as algorithm:
        results = [algorithm.train()]
        while results[-1]["fault_tolerance"]["num_restarts"] == 0 and len(results) < 500:
            results.append(algorithm.train())
        weights = algorithm.get_module().get_state()

    assert met.exists()
    assert results[-1]["fault_tolerance"]["num_restarts"] == 1
    assert results[-1]["fault_tolerance"]["num_dropped_fragments"] > 0
    assert sum(result["learners"]["default_policy"]["num_skipped_updates"] for result in results) == 0
    assert all(np.isfinite(leaf).all() for leaf in leaves(weights))


def test_a_mapping_that_changes_is_asked_in_every_runner_as_in_one_process() -> None:
    guests: list[str] = []

    def mapping(agent: str) -> str:
        return "guest" if agent in guests else agent

    config = settings(ImpalaConfig, CrossedAgents, runners=1).multi_agent(policy_mapping_fn=mapping)
    with config.build() as algorithm:
        first = algorithm.train()
        assert set(first["learners"]) == {"a0", "a1", "a2"}
        assert set(first["env_runners"]["module_episode_return_mean"]) == {"a0", "a1", "a2"}
        spec = algorithm.get_module("a0").config
        algorithm.add_module(
            "guest",
            SingleAgentRLModuleSpec(observation_space=spec.observation_space, action_space=spec.action_space),
        )
        guests.append("a0")
        algorithm.remove_module("a0")
        for _ in range(10):  # of which the first few are of requests from before
            learned = algorithm.train()["learners"]
        assert set(learned) == {"guest", "a1", "a2"}
        guests.append("a1")  # nothing joins or leaves with it, and both have the same spaces
        for _ in range(10):
            learned = algorithm.train()["learners"]
        assert set(learned) == {"guest", "a2"}
