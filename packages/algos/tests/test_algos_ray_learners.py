"""Learners on Ray: they learn what one learner does, and what happens when they fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import ray_checks
from ray_checks import gone, wait_until
from rlmodule_algos import APPOConfig, ConfigError, PPOConfig
from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.execution import LearnerGroup
from rlmodule_algos.learning import LearnerError, ParallelLearner
from rlmodule_core import SingleAgentRLModuleSpec
from rlmodule_core.state import flatten_state

one_ray, pytestmark = ray_checks.one_ray, ray_checks.needs_ray


def config(kind: type[AlgorithmConfig], num_learners: int, **model: Any) -> AlgorithmConfig:
    return (
        kind()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .learners(num_learners=num_learners)
        .training(train_batch_size=256, lr=1e-3, model={"fcnet_hiddens": [16], **model})
        .debugging(seed=0)
    )


def group_of(algorithm: Algorithm[Any]) -> LearnerGroup:
    assert isinstance(algorithm.learner, ParallelLearner)
    group = algorithm.learner._gradients
    assert isinstance(group, LearnerGroup)
    return group


def weights(algorithm: Algorithm[Any]) -> dict[str, npt.NDArray[Any]]:
    return flatten_state(algorithm.get_module().get_state())


def require_equal(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, array in expected.items():
        np.testing.assert_allclose(actual[name], array, atol=1e-6, err_msg=name)


def test_ppo_learns_on_two_learners_what_it_does_on_one_though_one_is_killed_and_a_checkpoint_goes_on(
    tmp_path: Path,
) -> None:
    with config(PPOConfig, 0).build() as alone:
        expected = [(alone.train(), weights(alone))[1] for _ in range(4)]

    with config(PPOConfig, 2).build() as algorithm:
        for iteration in range(3):
            result = algorithm.train()
            require_equal(weights(algorithm), expected[iteration])
            if iteration == 1:  # the next update finds it gone
                pid = group_of(algorithm)._slots[0].pid
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
        assert result["fault_tolerance"]["num_learner_restarts"] == 1
        pids = [slot.pid for slot in group_of(algorithm)._slots]
        path = algorithm.save(tmp_path)

    wait_until(lambda: all(gone(pid) for pid in pids if pid is not None), 5)
    with config(PPOConfig, 0).build() as alone:
        alone.restore(path)
        require_equal(weights(alone), expected[2])
        assert "num_learner_restarts" not in alone.train()["fault_tolerance"]


def test_appo_with_memory_learns_on_two_learners_what_it_does_on_one_in_tensorflow() -> None:
    pytest.importorskip("tensorflow")
    ends = []
    for num_learners in (0, 2):
        settings = config(APPOConfig, num_learners, use_lstm=True, lstm_cell_size=8, max_seq_len=7)
        with settings.framework("tf").build() as algorithm:
            learned = [algorithm.train()["learners"]["default_policy"] for _ in range(3)]
            ends.append((learned, weights(algorithm)))

    require_equal(ends[1][1], ends[0][1])
    for one, two in zip(ends[0][0], ends[1][0], strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_what_a_learner_raises_ends_the_run_with_its_traceback_and_stop_still_works() -> None:
    pytest.importorskip("torch")
    from rlmodule_algos.ppo import PPOTorchRLModule

    here = os.getpid()

    class Overheating(PPOTorchRLModule):  # type: ignore[misc, unused-ignore]
        def _forward_train(self, batch: Any) -> Any:
            if os.getpid() != here:
                raise ZeroDivisionError("the motor is too hot")
            return super()._forward_train(batch)

    settings = config(PPOConfig, 2)
    settings.rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Overheating))
    algorithm = settings.build()
    before = weights(algorithm)
    for _ in range(2):
        with pytest.raises(
            LearnerError, match=r"(?s)learner \d raised.*_forward_train.*the motor is too hot"
        ):
            algorithm.train()
    require_equal(weights(algorithm), before)
    begin = monotonic()
    algorithm.stop()
    algorithm.stop()
    assert monotonic() - begin < 10.0


def test_learners_on_a_device_that_there_are_not_enough_of_are_refused_before_they_start() -> None:
    from rlmodule_algos.execution.ray_pool import RayLearnerEngine
    from rlmodule_algos.execution.ray_session import Session

    session = Session.current
    with pytest.raises(
        ConfigError, match=r"num_learners=100 with device='cuda' takes a GPU for each learner"
    ):
        RayLearnerEngine(_nothing, num_learners=100, device="cuda", address=None)
    assert Session.current is session


def _nothing(seed: int) -> Any:
    raise AssertionError(seed)


@pytest.mark.long
def test_ppo_solves_cartpole_on_two_learners() -> None:
    settings = PPOConfig().environment("CartPole-v1").learners(num_learners=2).debugging(seed=0)
    with settings.training(lr=1e-3, minibatch_size=256, num_epochs=6).build() as algorithm:
        while algorithm.env_steps < 200_000:
            algorithm.train()
            mean = algorithm.evaluate(20)["evaluation"]["episode_return_mean"]
            if mean >= 475.0:
                break
    assert mean >= 475.0
