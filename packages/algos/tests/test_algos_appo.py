"""APPO between its buffer and its loss: whose ratio corrects, over which steps, against which policy."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import APPO, APPOConfig
from rlmodule_algos.batching import evaluate_fragment
from rlmodule_algos.envs import MultiAgentCartPole
from rlmodule_algos.execution import SampledBatch
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.returns import vtrace
from rlmodule_core.state import flatten_state, nest_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
LSTM: dict[str, Any] = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5}
KEY = "default_policy"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework(FRAMEWORKS[0]).bridge.threads(1):
        yield


def config(env: Any = "CartPole-v1", framework: str = "torch", **training: Any) -> APPOConfig:
    made = APPOConfig().environment(env).framework(framework).debugging(seed=0)
    made.training(train_batch_size=64, model={"fcnet_hiddens": [8]}, circular_buffer_iterations_per_batch=1)
    made.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=8)
    return made.training(**training)


def move(algorithm: APPO) -> None:
    """Let pi be far from mu, which acted, and from pi_T, which is made another than both."""
    for module, shift in ((algorithm.modules[KEY], 1.0), (algorithm._targets[KEY], -0.5)):
        state = flatten_state(module.get_state())
        last = max(name for name in state if name.startswith("pi") and name.endswith("bias"))
        moved = {**state, last: state[last] + shift * np.arange(len(state[last]), dtype=np.float32)}
        module.set_state(nest_state(moved))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_v_trace_corrects_with_the_ratio_of_the_target_network_and_the_values_of_what_learns(
    framework: str,
) -> None:
    with config("Pendulum-v1", framework, standardize_advantages=False, lambda_=0.9).build() as algorithm:
        (fragment,) = algorithm.collect().fragments[KEY]
        move(algorithm)
        bridge = algorithm.framework.bridge
        own = evaluate_fragment(fragment, algorithm.modules[KEY], bridge)
        target = evaluate_fragment(fragment, algorithm._targets[KEY], bridge)
        batch: dict[str, Any] = algorithm._batch(KEY, [fragment])

    def corrected(logp: Any) -> Any:
        ended = fragment.terminated | fragment.truncated
        given = (fragment.rewards, own.values, own.next_values, fragment.terminated, ended)
        return vtrace(logp - fragment.action_logp, *given, gamma=0.99, lambda_=0.9)

    expected, others = corrected(target.logp), corrected(own.logp)
    assert np.abs(expected.value_targets - others.value_targets).max() > 0.1
    np.testing.assert_allclose(
        np.sort(batch["value_targets"]), np.sort(expected.value_targets, axis=None), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.sort(batch["advantages"]), np.sort(expected.advantages, axis=None), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(np.sort(batch["target_logp"]), np.sort(target.logp, axis=None), rtol=1e-6)


def test_advantages_are_standardised_over_the_steps_that_count_and_padding_is_none_of_them() -> None:
    with config(model=LSTM).build() as algorithm:
        for _ in range(3):
            batch: dict[str, Any] = algorithm._batch(KEY, algorithm.collect().fragments[KEY])

    real = batch["loss_mask"]
    assert 0.4 < real.mean() < 0.95
    assert batch["advantages"][real].mean() == pytest.approx(0.0, abs=1e-5)
    assert batch["advantages"][real].std() == pytest.approx(1.0, abs=1e-4)
    assert not batch["advantages"][~real].any()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_penalty_is_the_kl_from_the_target_network_to_what_learns_and_not_the_other_way_round(
    framework: str,
) -> None:
    with config(framework=framework, use_kl_loss=True, lr=1e-9).build() as algorithm:
        sampled = algorithm.collect()
        move(algorithm)
        bridge, obs = algorithm.framework.bridge, algorithm._batch(KEY, sampled.fragments[KEY])["obs"]
        pi, target = (
            bridge.call(module, "forward_train", {"obs": bridge.to_tensors(obs)})["action_dist"]
            for module in (algorithm.modules[KEY], algorithm._targets[KEY])
        )
        forth = np.mean(bridge.to_numpy(target.kl(pi)))
        back = np.mean(bridge.to_numpy(pi.kl(target)))

        learned = algorithm.learn(SampledBatch(sampled.fragments, sampled.num_env_steps, uses=1))[KEY]

    assert abs(forth - back) > 0.01
    assert learned["mean_kl"] == pytest.approx(float(forth), rel=1e-3)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_weights_that_are_set_between_two_iterations_are_those_of_the_target_network_too(
    framework: str,
) -> None:
    with (
        config(framework=framework, target_network_update_freq=10**6).build() as algorithm,
        config(framework=framework).debugging(seed=1).build() as other,
    ):
        started = algorithm._targets[KEY].get_state()
        algorithm.train()
        np.testing.assert_equal(algorithm._targets[KEY].get_state(), started)
        trained = other.get_module().get_state()
        algorithm.get_module().set_state(trained)
        for _ in range(2):
            algorithm.train()
        np.testing.assert_equal(algorithm._targets[KEY].get_state(), trained)


def test_a_module_that_joins_with_weights_of_another_has_them_in_its_target_network_too() -> None:
    made = config(MultiAgentCartPole, target_network_update_freq=10**6)
    with made.build() as algorithm:
        algorithm.train()
        trained = algorithm.get_module(KEY).get_state()
        algorithm.add_module("guest").set_state(trained)
        algorithm.train()
        np.testing.assert_equal(algorithm._targets["guest"].get_state(), trained)


@pytest.mark.parametrize(("uses", "batches"), [(2, 1), (2, 2)])
def test_the_kl_right_after_the_target_was_copied_says_nothing_of_the_weight_of_the_penalty(
    uses: int, batches: int
) -> None:
    made = config(use_kl_loss=True, kl_target=1e-6, target_network_update_freq=128, lr=1e-2)
    made.training(circular_buffer_iterations_per_batch=uses, circular_buffer_num_batches=batches)
    with made.build() as algorithm:
        results = [algorithm.train()["learners"][KEY] for _ in range(5)]

    weights = [result["curr_kl_coeff"] for result in results]
    assert weights == sorted(weights), "every KL that there was is beyond the target"
    assert weights[-1] >= 16.0


def test_a_batch_that_gives_no_gradient_is_skipped_once_and_the_others_make_the_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = config(circular_buffer_num_batches=2, circular_buffer_iterations_per_batch=12)
    with made.build() as algorithm:
        collect = algorithm.collect

        def huge() -> SampledBatch:
            sampled = collect()
            for fragment in sampled.fragments[KEY]:
                fragment.rewards[:] = 1e30
            return sampled

        for _ in range(3):
            before = algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"]
        monkeypatch.setattr(algorithm, "collect", huge)
        result = algorithm.train()
        spoiled, sampled = result["learners"][KEY], result["env_runners"]["num_env_steps_sampled_lifetime"]
        monkeypatch.undo()
        after = algorithm.train()
        algorithm.train()
        last = algorithm.train()["env_runners"]

    assert spoiled["num_skipped_updates"] == 1
    assert 1 < spoiled["num_updates"] < 12
    assert np.isfinite(spoiled["total_loss"])
    assert after["learners"][KEY]["num_skipped_updates"] == 0
    assert last["num_env_steps_dropped_lifetime"] == sampled - before
    assert last["num_env_steps_sampled_lifetime"] == (
        last["num_env_steps_trained_lifetime"]
        + last["num_env_steps_dropped_lifetime"]
        + last["num_env_steps_in_flight"]
    )


def test_target_networks_follow_after_so_many_steps_since_they_last_did() -> None:
    with config("Pendulum-v1", target_network_update_freq=100).build() as algorithm:
        seen = [algorithm.train()["learners"][KEY]["num_target_updates"] for _ in range(10)]

    assert seen == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]  # after every second batch of 64
