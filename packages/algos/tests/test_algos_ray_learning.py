"""IMPALA and APPO learn on a thread of their own while the runners on Ray are seen to."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from time import sleep
from typing import Any

import pytest

import ray_checks
from ray_checks import fragments_add_up, steps_add_up, wait_until
from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner import ActorLearner, ActorLearnerConfig
from rlmodule_algos.execution import RemotePool, SampledBatch, learner_thread

one_ray, pytestmark = ray_checks.one_ray, ray_checks.needs_ray


Learner = ActorLearner[Any]
During = Callable[[Learner], object]


def built(
    kind: type[ActorLearnerConfig], *, framework: str = "torch", length: int = 16, batch: int = 64
) -> Learner:
    algorithm = (
        kind()
        .environment("CartPole-v1")
        .framework(framework)
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4, rollout_fragment_length=length)
        .training(train_batch_size=batch, model={"fcnet_hiddens": [16]})
        .fault_tolerance(restart_delay_s=0.1)
        .debugging(seed=0)
        .build()
    )
    assert isinstance(algorithm, ActorLearner)
    return algorithm


def at_update(algorithm: Learner, number: int, during: During) -> None:
    """Do something in a learning step, before the update, on the thread that takes it."""
    learn, calls = algorithm.learn, [0]

    def slow(batch: SampledBatch) -> dict[str, dict[str, float]]:
        calls[0] += 1
        if calls[0] == number:
            during(algorithm)
        return learn(batch)

    algorithm.learn = slow  # type: ignore[method-assign]


def fleet(algorithm: Learner) -> Any:
    assert isinstance(algorithm.pool, RemotePool)
    return algorithm.pool._fleet


def adds_up(algorithm: Learner, counts: dict[str, Any]) -> bool:
    return steps_add_up(counts) and fragments_add_up(algorithm.pool.health())


def train_on(algorithm: Learner) -> None:
    for _ in range(20):
        algorithm.train()


@pytest.mark.parametrize(("kind", "framework"), [(ImpalaConfig, "torch"), (APPOConfig, "tf")])
def test_updates_are_taken_on_a_thread_of_their_own_and_none_outside_of_train(
    kind: type[ActorLearnerConfig], framework: str
) -> None:
    pytest.importorskip({"torch": "torch", "tf": "tensorflow"}[framework])
    names: list[str] = []
    with built(kind, framework=framework) as algorithm:
        at_update(algorithm, 2, lambda _: names.append(threading.current_thread().name))
        while not names:
            result = algorithm.train()
        version = algorithm.get_state()["version"]
        sleep(0.3)
        assert algorithm.get_state()["version"] == version

    assert names == ["rlmodule-learner"]
    assert result["learners"]["default_policy"]["num_updates"] > 0
    assert "rlmodule-learner" not in [thread.name for thread in threading.enumerate()]


def test_in_one_process_updates_are_taken_where_train_was_called() -> None:
    names: list[str] = []
    config = ImpalaConfig().environment("CartPole-v1").training(train_batch_size=64)
    with config.env_runners(num_envs_per_env_runner=2).build() as algorithm:
        assert isinstance(algorithm, ActorLearner)
        at_update(algorithm, 1, lambda _: names.append(threading.current_thread().name))
        algorithm.train()

    assert names == [threading.current_thread().name]


def test_a_runner_that_is_killed_at_work_is_replaced_while_the_learner_learns() -> None:
    def kill(algorithm: Learner) -> None:
        wait_until(lambda: fleet(algorithm).num_ready == 2 and fleet(algorithm).slots[0].asked)
        os.kill(fleet(algorithm).slots[0].pid, signal.SIGKILL)
        wait_until(lambda: fleet(algorithm).books.restarts == 1 and fleet(algorithm).num_ready == 2)

    length = 5_000  # so that a fragment takes long, and there is one at work
    with built(ImpalaConfig, length=length, batch=4 * length) as algorithm:
        at_update(algorithm, 2, kill)
        for _ in range(4):
            counts = algorithm.train()["env_runners"]
            assert adds_up(algorithm, counts)
        assert algorithm.pool.health()["num_restarts"] == 1


def test_runners_gather_the_next_batch_while_the_learner_learns_and_no_more() -> None:
    most: list[int] = []

    def look_on(algorithm: Learner) -> None:
        wait_until(lambda: len(fleet(algorithm).arrived) == 2 * 3)
        sleep(0.3)
        most.append(fleet(algorithm).num_in_flight)

    with built(ImpalaConfig, batch=4 * 64) as algorithm:  # four fragments, two of each runner
        at_update(algorithm, 2, look_on)
        for _ in range(3):
            counts = algorithm.train()["env_runners"]
            assert adds_up(algorithm, counts)

    assert most == [2 * 3]


def test_what_a_loss_raises_reaches_train_and_the_run_can_go_on_or_stop() -> None:
    def fail(_: Learner) -> None:
        raise ArithmeticError("no loss")

    with built(APPOConfig) as algorithm:
        at_update(algorithm, 3, fail)
        with pytest.raises(ArithmeticError, match="no loss") as caught:
            train_on(algorithm)
        assert "fail" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert adds_up(algorithm, algorithm.train()["env_runners"])


def test_ctrl_c_while_the_learner_learns_leaves_a_whole_update(tmp_path: Any) -> None:
    def ctrl_c(_: Learner) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        sleep(0.5)  # in which the other thread is interrupted

    with built(ImpalaConfig) as algorithm:
        at_update(algorithm, 2, ctrl_c)
        first = algorithm.train()["env_runners"]
        with pytest.raises(KeyboardInterrupt):
            algorithm.train()
        state = algorithm.get_state()
        assert state["version"] == 2
        assert state["trained"] > first["num_env_steps_trained_lifetime"]
        assert algorithm.save(tmp_path).is_dir()
        assert adds_up(algorithm, algorithm.train()["env_runners"])


def test_calls_interrupted_while_one_update_takes_long_lose_no_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    goes_on = threading.Event()

    def interrupted(algorithm: Learner) -> None:
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            algorithm.train()
        timer.join()

    with built(ImpalaConfig) as algorithm:
        at_update(algorithm, 2, lambda _: goes_on.wait(30))
        algorithm.train()
        version = algorithm.get_state()["version"]
        interrupted(algorithm)  # while the learner is at work
        sampled = algorithm.env_steps
        interrupted(algorithm)  # while the one before is waited for
        assert algorithm.env_steps == sampled  # nothing was sampled with weights that change
        for forbidden in (lambda: algorithm.save(tmp_path), lambda: algorithm.evaluate(1)):
            with pytest.raises(RuntimeError, match="still learning from its batch"):
                forbidden()
        goes_on.set()
        assert adds_up(algorithm, algorithm.train()["env_runners"])
        assert algorithm.get_state()["version"] == version + 2
