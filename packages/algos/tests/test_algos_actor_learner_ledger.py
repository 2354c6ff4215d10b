"""What becomes of steps in IMPALA and APPO where something goes wrong, and where modules come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import Algorithm, APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner.results import lags
from rlmodule_algos.batching import Fragment
from rlmodule_algos.execution import LocalPool, SampledBatch
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.testing import CrossedAgents
from rlmodule_core import SingleAgentRLModuleSpec
from rlmodule_core.state import flatten_state, nest_state

pytest.importorskip("torch")

CONFIGS: dict[str, Any] = {"impala": ImpalaConfig, "appo": APPOConfig}
by_algorithm = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def config(name: str, **training: Any) -> Any:
    made = CONFIGS[name]().environment("Pendulum-v1").debugging(seed=0)  # 64 steps in every batch
    made.training(**{"train_batch_size": 64, "model": {"fcnet_hiddens": [8]}, **training})
    return made.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=8)


def crossed(name: str, **training: Any) -> Any:
    made = CONFIGS[name]().environment(CrossedAgents).multi_agent(policy_mapping_fn=same_name)
    made.training(**{"train_batch_size": 40, "model": {"fcnet_hiddens": [8]}, **training})
    return made.env_runners(num_envs_per_env_runner=4, rollout_fragment_length=10).debugging(seed=0)


def same_name(agent: str) -> str:
    return agent


def like_a0(**model: Any) -> SingleAgentRLModuleSpec:
    env = CrossedAgents({})
    return SingleAgentRLModuleSpec(
        observation_space=env.observation_spaces["a0"],
        action_space=env.action_spaces["a0"],
        model_config_dict={"fcnet_hiddens": [8], **model},
    )


def ledger(result: Mapping[str, Any]) -> tuple[int, int, int]:
    """Steps trained, dropped and in flight; they are all that were sampled."""
    counts = result["env_runners"]
    books = (
        counts["num_env_steps_trained_lifetime"],
        counts["num_env_steps_dropped_lifetime"],
        counts["num_env_steps_in_flight"],
    )
    assert sum(books) == counts["num_env_steps_sampled_lifetime"]
    return books


def spoil(algorithm: Algorithm[Any], module_id: str = "default_policy") -> None:
    """Let every gradient be NaN, and what acts be as before."""
    module = algorithm.get_module(module_id)
    state = dict(flatten_state(module.get_state()))
    state |= {key: value * np.nan for key, value in state.items() if key.startswith("vf")}
    module.set_state(nest_state(state))


# --- batches that nothing is learned from ---------------------------------------------------------


def test_steps_of_a_batch_whose_gradient_is_not_finite_are_dropped_and_not_trained() -> None:
    with config("impala").build() as algorithm:
        algorithm.train()
        good = algorithm.modules.get_state()
        spoil(algorithm)
        skipped = [algorithm.train() for _ in range(3)]
        algorithm.modules.set_state(good)
        after = algorithm.train()

    assert [ledger(result) for result in skipped] == [(64, 64, 0), (64, 128, 0), (64, 192, 0)]
    assert skipped[0]["env_runners"]["num_env_steps_trained"] == 0
    assert ledger(after) == (128, 192, 0)


def test_a_batch_that_no_step_could_be_taken_on_is_dropped_and_not_used_again() -> None:
    with config("appo", circular_buffer_num_batches=2).build() as algorithm:
        spoil(algorithm)
        good = {
            key: np.nan_to_num(value) for key, value in flatten_state(algorithm.modules.get_state()).items()
        }
        first, second = (ledger(algorithm.train()) for _ in range(2))
        algorithm.modules.set_state(nest_state(good))
        third = algorithm.train()
        spoil(algorithm)
        algorithm.train()
        last = ledger(algorithm.train())

    assert first == (0, 64, 0)
    assert second == (0, 128, 0)
    assert ledger(third) == (64, 128, 0)
    assert third["learners"]["default_policy"]["num_updates"] == 1
    assert last == (64, 128 + 128, 0)


def test_a_skipped_batch_brings_no_target_network_nearer_to_its_refresh() -> None:
    with config("appo", target_network_update_freq=64).build() as algorithm:
        spoil(algorithm)
        seen = [algorithm.train()["learners"]["default_policy"]["num_target_updates"] for _ in range(3)]

    assert seen == [0, 0, 0]


@by_algorithm
def test_steps_are_not_trained_where_learning_from_them_raised(name: str) -> None:
    from rlmodule_algos.impala import ImpalaTorchRLModule

    class Failing(ImpalaTorchRLModule):  # type: ignore[misc, unused-ignore]
        broken = False

        def _forward_train(self, batch: Any) -> Any:
            if self.broken:
                raise RuntimeError("the motor is too hot")
            return super()._forward_train(batch)

    made = config(name).rl_module(rl_module_spec=SingleAgentRLModuleSpec(module_class=Failing))
    with made.build() as algorithm:
        before = ledger(algorithm.train())
        algorithm.get_module().broken = True
        for _ in range(3):
            with pytest.raises(RuntimeError, match="the motor is too hot"):
                algorithm.train()
        sampled = algorithm.env_steps
        algorithm.get_module().broken = False
        trained, dropped, in_flight = ledger(algorithm.train())

    assert before == (64, 0, 0)
    assert sampled == 256
    assert (trained, dropped, in_flight) == ((128, 192, 0) if name == "impala" else (192, 128, 0))


def test_a_batch_is_trained_where_one_module_took_a_step_though_another_could_not() -> None:
    with crossed("impala").build() as algorithm:
        spoil(algorithm, "a1")
        result = algorithm.train()

    assert result["learners"]["a1"]["num_updates"] == 0
    assert ledger(result) == (40, 0, 0)


@by_algorithm
def test_a_fragment_is_learned_from_however_old_it_is_and_its_lag_is_told(name: str) -> None:
    with config(name, lr=1e-2).build() as algorithm:
        old = algorithm.collect()
        for _ in range(40):
            algorithm.train()
        behind = algorithm._version
        before = flatten_state(algorithm.modules.get_state())

        learned = algorithm.learn(old)["default_policy"]

        after = flatten_state(algorithm.modules.get_state())

    assert behind >= 40
    assert learned["lag_min"] == learned["lag_max"] == behind
    assert learned["mean_rho"] < 0.99  # far from the policy that acted, for which V-trace corrects
    assert learned["num_updates"] == 1
    assert any((after[key] != array).any() for key, array in before.items())
    assert old.trained


# --- modules that leave, and others that come under their name ------------------------------------


@pytest.mark.parametrize("model", [{}, {"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5}])
def test_a_module_learns_nothing_from_what_another_of_its_id_had_in_the_buffer(model: dict[str, Any]) -> None:
    with crossed("appo", circular_buffer_num_batches=3).build() as algorithm:
        for _ in range(4):
            before = algorithm.train()
        algorithm.remove_module("a0")
        algorithm.add_module("a0", like_a0(**model))
        results = [algorithm.train() for _ in range(4)]

    assert before["learners"]["a0"]["num_updates"] == 2
    assert [result["learners"]["a0"]["num_updates"] for result in results] == [1, 1, 2, 2]
    assert results[0]["learners"]["a0"]["lag_max"] == 0.0
    assert results[0]["learners"]["a1"]["num_updates"] == 2
    for result in results:
        assert ledger(result) == (40 * result["training_iteration"], 0, 0)


@by_algorithm
def test_a_module_learns_at_once_in_a_run_that_was_set_back_to_before_it_joined(
    name: str, tmp_path: Path
) -> None:
    with crossed(name).build() as algorithm:
        algorithm.train()
        algorithm.save(tmp_path)
        for _ in range(4):
            algorithm.train()
        algorithm.remove_module("a0")
        algorithm.add_module("a0", like_a0())
        algorithm.train()
        algorithm.restore(tmp_path)

        assert set(algorithm.train()["learners"]) == {"a0", "a1", "a2"}


class Late(LocalPool):
    """Gives what was asked for a call ago, as runners do that were busy while modules came and went."""

    before: dict[str, list[Fragment]] | None = None

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        now = super().sample(num_env_steps)
        given, self.before = self.before or now, now
        return given


@by_algorithm
def test_a_module_learns_nothing_from_what_another_of_its_id_sampled_and_was_still_to_come(name: str) -> None:
    with crossed(name).build() as algorithm:
        pool = algorithm.pool
        algorithm.pool = Late(pool.runner, own=pool._own, fragment_length=pool._fragment_length)
        for _ in range(3):
            algorithm.train()
        algorithm.remove_module("a0")
        algorithm.add_module("a0", like_a0(use_lstm=True, lstm_cell_size=8, max_seq_len=5))
        ids = [set(algorithm.train()["learners"]) for _ in range(2)]

    assert ids == [{"a1", "a2"}, {"a0", "a1", "a2"}]


def test_runners_hear_of_a_module_that_left_with_the_next_batch() -> None:
    gone: list[str] = []

    def mapping(agent: str) -> str:
        return "a2" if agent in gone else agent

    made = crossed("impala", broadcast_interval=50).multi_agent(policy_mapping_fn=mapping)
    with made.build() as algorithm:
        algorithm.add_module("spare", like_a0())
        lags = [algorithm.train()["learners"]["a1"]["lag_max"] for _ in range(3)]
        algorithm.remove_module("spare")
        after = algorithm.train()["learners"]["a1"]["lag_max"]

    assert lags == [0, 1, 2]
    assert after == 0


# --- books ----------------------------------------------------------------------------------------


def test_the_normaliser_takes_every_step_in_once_however_often_it_is_used() -> None:
    model = {"fcnet_hiddens": [8], "normalize_observations": True}
    with config("appo", model=model, circular_buffer_iterations_per_batch=3).build() as algorithm:
        for _ in range(6):
            algorithm.train()
        states = (algorithm.get_module().get_state(), algorithm._targets["default_policy"].get_state())

    for state in states:
        counts = [value for key, value in flatten_state(state).items() if key.endswith("count")]
        assert [int(np.max(count)) for count in counts] == [6 * 64]


@pytest.mark.parametrize("interval", [2, 3])
def test_lags_are_reported_from_the_least_to_the_most(interval: int) -> None:
    with config("impala", broadcast_interval=interval).build() as algorithm:
        fragments = [algorithm.collect().fragments["default_policy"][0] for _ in range(2)]
        algorithm.learn(SampledBatch({"default_policy": fragments}, 128))
        fragments += algorithm.collect().fragments["default_policy"]
        algorithm.learn(SampledBatch({"default_policy": fragments}, 192))
        algorithm._sent = None
        fragments += algorithm.collect().fragments["default_policy"]
        version = algorithm.get_state()["version"]

    assert lags(fragments, version) == {"lag_min": 0.0, "lag_mean": 1.5, "lag_max": 2.0}
