"""Env runners on Ray: what they sample, and what happens when they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec

import ray_checks
from ray_checks import fragments_add_up, gone, wait_until
from rlmodule_algos import ConfigError, EnvError, PPOConfig
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.execution import EnvRunnerError, RemotePool
from rlmodule_algos.execution.engine import Doomed
from rlmodule_algos.execution.ray_surroundings import OBEY_S

one_ray, pytestmark = ray_checks.one_ray, ray_checks.needs_ray

Making = Callable[[Mapping[str, Any]], gym.Env[Any, Any]]


def config(env: Any = "CartPole-v1", runners: int = 2, **faults: Any) -> PPOConfig:
    made = (
        PPOConfig()
        .environment(env)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=4)
        .training(train_batch_size=512, model={"fcnet_hiddens": [16]})
        .debugging(seed=0)
    )
    return made.fault_tolerance(restart_delay_s=0.1, **faults) if runners else made


def pool_of(algorithm: Algorithm[Any]) -> RemotePool:
    assert isinstance(algorithm.pool, RemotePool)  # type: ignore[attr-defined]
    return algorithm.pool  # type: ignore[attr-defined]


def pid_of(algorithm: Algorithm[Any], runner: int) -> int:
    pid = pool_of(algorithm)._fleet.slots[runner].pid
    assert pid is not None
    return pid


# --- sampling ---------------------------------------------------------------------------------


def test_ppo_trains_on_two_runners_and_a_checkpoint_goes_on_in_process(tmp_path: Path) -> None:
    steps, episodes, learned = 0, 0, []
    with config().build() as algorithm:
        for iteration in range(4):
            result = algorithm.train()
            sampled = result["env_runners"]
            steps += sampled["num_env_steps_sampled"]
            episodes += sampled["num_episodes"]
            learned.append(result["learners"])

            assert {receipt.weights_version for receipt in list(pool_of(algorithm).receipts)[-2:]} == {
                iteration
            }
            assert fragments_add_up(result["fault_tolerance"])
        receipts = list(pool_of(algorithm).receipts)
        weights = algorithm.get_module().get_state()
        path = algorithm.save(tmp_path)
        assert result["timers"]["env_s"] > 0

    assert sampled["num_env_steps_sampled_lifetime"] == steps == sum(r.num_env_steps for r in receipts)
    assert sampled["num_episodes_lifetime"] == episodes > 0
    assert sampled["num_agent_steps_sampled_lifetime"] == {"default_policy": steps}
    assert [receipt[:3] for receipt in receipts] == [(i, 1, k) for k in range(4) for i in range(2)]
    assert result["fault_tolerance"] == {
        "num_healthy_env_runners": 2,
        "num_restarts": 0,
        "num_fragments_requested": 8,
        "num_fragments_delivered": 8,
        "num_dropped_fragments": 0,
        "num_fragments_in_flight": 0,
    }
    with config(runners=0).build() as alone:
        alone.restore(path)
        np.testing.assert_equal(alone.get_module().get_state(), weights)
        went_on = alone.train()["env_runners"]
        back = alone.save(tmp_path)
    assert went_on["num_env_steps_sampled_lifetime"] == steps + went_on["num_env_steps_sampled"]
    with config().build() as algorithm:
        assert [algorithm.train()["learners"] for _ in range(2)] == learned[:2]  # by the same seed
        algorithm.restore(back)
        last = algorithm.train()["env_runners"]
        assert last["num_env_steps_sampled_lifetime"] == (
            went_on["num_env_steps_sampled_lifetime"] + last["num_env_steps_sampled"]
        )


def test_a_runner_makes_what_the_program_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pole(CartPoleEnv):  # travels by value
        pass

    spec = EnvSpec("Mine-v0", entry_point=cast(Any, Pole), max_episode_steps=7)
    monkeypatch.setitem(gym.registry, "Mine-v0", spec)  # as `gym.register` does
    with config("Mine-v0", runners=1).build() as algorithm:
        sampled = algorithm.train()["env_runners"]

    assert sampled["episode_len_mean"] <= 7


# --- faults -----------------------------------------------------------------------------------


def test_a_killed_runner_is_replaced_and_the_run_goes_on() -> None:
    with config().build() as algorithm:
        algorithm.train()
        killed = pid_of(algorithm, 1)
        os.kill(killed, signal.SIGKILL)
        end = monotonic() + 30
        while monotonic() < end:
            health = algorithm.train()["fault_tolerance"]
            assert fragments_add_up(health)
            if health["num_restarts"] == 1 and health["num_healthy_env_runners"] == 2:
                break
        result = algorithm.train()
        receipts = list(pool_of(algorithm).receipts)

        assert result["fault_tolerance"]["num_restarts"] == 1
        assert result["fault_tolerance"]["num_dropped_fragments"] == 1
        assert pid_of(algorithm, 1) != killed
    assert receipts[-1][:2] == (1, 2)
    first = next(receipt for receipt in receipts if receipt.incarnation == 2)
    assert first.sequence == 0
    assert first.weights_version >= max(r.weights_version for r in receipts if r[:2] == (1, 1))
    assert result["env_runners"]["num_env_steps_sampled_lifetime"] == sum(r.num_env_steps for r in receipts)
    for one, other in pairwise([receipt for receipt in receipts if receipt.runner == 0]):
        assert other.sequence == one.sequence + 1


def env_with(step: Callable[[], None]) -> Making:
    """An environment that does something in its step; made here, so that it travels by value."""

    class Env(gym.Env[Any, Any]):
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            return np.zeros(2, np.float32), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            step()
            return np.zeros(2, np.float32), 0.0, False, False, {}

    return lambda _: Env()


def test_a_runner_that_always_raises_ends_the_run_with_its_own_traceback() -> None:
    def the_motor_is_too_hot() -> None:
        raise OSError("99 degrees")

    begin = monotonic()
    with config(env_with(the_motor_is_too_hot), runners=1).build() as algorithm:
        with pytest.raises(EnvRunnerError) as caught:
            algorithm.train()
        with pytest.raises(EnvError, match="99 degrees"):  # again, at once
            algorithm.train()

    for part in ("env runner ", "3 times in a row", "OSError: 99 degrees", "in the_motor_is_too_hot"):
        assert part in str(caught.value)
    assert monotonic() - begin < 60


def test_a_runner_whose_environment_cannot_be_made_there_ends_the_run_with_its_own_traceback() -> None:
    here = os.getpid()

    def make(_: Mapping[str, Any]) -> gym.Env[Any, Any]:
        if os.getpid() != here:
            raise OSError("no such licence")
        return gym.make("CartPole-v1")

    with (
        config(make, runners=1, max_failures_in_a_row=2).build() as algorithm,
        pytest.raises(EnvRunnerError) as caught,
    ):
        algorithm.train()

    assert "OSError: no such licence" in str(caught.value)


def test_an_environment_that_hangs_hits_the_deadline() -> None:
    algorithm = config(
        env_with(lambda: sleep(600)), runners=1, sample_timeout_s=0.5, max_failures_in_a_row=1
    ).build()
    with pytest.raises(EnvRunnerError, match=r"did not give a fragment within 0\.5 s"):
        algorithm.train()
    begin = monotonic()
    algorithm.stop()

    assert monotonic() - begin < 10


def test_processes_that_are_stopped_together_are_ended_in_the_time_of_one_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = []
    with config(sample_timeout_s=1.0).build() as algorithm:
        pool = pool_of(algorithm)
        kill = pool._engine.kill

        def timed(processes: Sequence[Doomed]) -> None:
            begin = monotonic()
            kill(processes)
            seconds.append(monotonic() - begin)

        algorithm.train()
        stopped = [pid_of(algorithm, runner) for runner in range(2)]
        monkeypatch.setattr(pool._engine, "kill", timed)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        result = algorithm.train()
        monkeypatch.undo()

        assert OBEY_S <= sum(seconds) < 1.6 * OBEY_S
        assert result["fault_tolerance"]["num_dropped_fragments"] == 2
        wait_until(lambda: all(map(gone, stopped)), 5)  # so that nothing can come of them late
        results = [result, *(algorithm.train() for _ in range(2))]
        receipts = list(pool.receipts)

    assert all(fragments_add_up(each["fault_tolerance"]) for each in results)
    assert len({receipt[:3] for receipt in receipts}) == len(receipts)
    sampled = sum(receipt.num_env_steps for receipt in receipts)
    assert results[-1]["env_runners"]["num_env_steps_sampled_lifetime"] == sampled


# --- the end ----------------------------------------------------------------------------------


def test_stop_may_come_twice_and_before_the_first_iteration() -> None:
    algorithm = config().build()
    begin = monotonic()
    algorithm.stop()
    algorithm.stop()

    assert monotonic() - begin < 10
    with pytest.raises(RuntimeError, match="was stopped"):
        algorithm.train()


def test_what_cannot_be_pickled_is_named_before_anything_runs() -> None:
    lock = Lock()  # which cannot be pickled

    def make(_: Mapping[str, Any]) -> gym.Env[Any, Any]:
        assert not lock.locked()
        return gym.make("CartPole-v1")

    with pytest.raises(ConfigError, match="cannot be sent to env runners"):
        config(make).build()


def test_one_process_uses_one_ray() -> None:
    with pytest.raises(ConfigError, match="another algorithm of this process uses Ray"):
        config().env_runners(ray_address="1.2.3.4:6379").build()
    with pytest.raises(ConfigError, match="Ray Client is not supported"):
        config().env_runners(ray_address="ray://1.2.3.4:10001").build()


def test_no_other_ray_is_started_where_the_program_has_shut_ours_down() -> None:  # the last one on this Ray
    import ray

    with config(runners=1).learners(num_learners=1).build() as algorithm:
        algorithm.train()
        ray.shutdown()
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"Ray was shut down.*build another"):
                algorithm.train()
        assert not ray.is_initialized()
