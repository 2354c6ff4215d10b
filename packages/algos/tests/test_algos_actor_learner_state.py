"""What a run of IMPALA or APPO keeps, and who takes part in it: checkpoints, and modules that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import APPO, Algorithm, APPOConfig, ImpalaConfig
from rlmodule_algos.execution import LocalPool
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.testing import CrossedAgents
from rlmodule_core import CheckpointError, SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves

CONFIGS = {"impala": ImpalaConfig, "appo": APPOConfig}
SMALL: dict[str, Any] = {
    "train_batch_size": 64,
    "broadcast_interval": 2,
    "model": {"fcnet_hiddens": [8], "normalize_observations": True},
}
TARGETS: dict[str, Any] = {
    "target_network_update_freq": 300,
    "tau": 0.5,
    "use_kl_loss": True,
    "kl_target": 1e-6,
}
by_algorithm = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def config(name: str, seed: int = 0, **training: Any) -> Any:
    settings = CONFIGS[name]().environment("CartPole-v1").training(**{**SMALL, **training})
    return settings.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=8).debugging(seed=seed)


def numbers(nest: Any) -> list[Any]:
    return [np.copy(leaf) for leaf in leaves(nest)]


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


# --- seeds and checkpoints ------------------------------------------------------------------------


@by_algorithm
def test_the_same_seed_gives_the_same_run_bit_for_bit_and_another_seed_does_not(name: str) -> None:
    with config(name).build() as first, config(name).build() as second, config(name, 1).build() as other:
        for algorithm in (first, second, other):
            for _ in range(6):
                algorithm.train()
        states = [numbers(algorithm.modules.get_state()) for algorithm in (first, second, other)]

    assert same(states[0], states[1])
    assert not same(states[0], states[2])


@by_algorithm
def test_a_restored_run_has_all_that_was_saved(name: str, tmp_path: Path) -> None:
    extra = TARGETS if name == "appo" else {}
    with config(name, **extra).build() as trained, config(name, 9, **extra).build() as fresh:
        for _ in range(7):
            trained.train()
        trained.save(tmp_path)
        fresh.restore(tmp_path)
        saved, restored = trained.get_state(), fresh.get_state()

    assert restored["version"] == saved["version"] >= 7
    assert restored["trained"] == saved["trained"]
    assert restored["dropped"] == saved["dropped"]
    assert same(numbers(restored["learner"]["modules"]), numbers(saved["learner"]["modules"]))
    if name == "appo":
        assert restored["kl_coeffs"] == saved["kl_coeffs"] != {}
        assert restored["steps_since_target"] == saved["steps_since_target"]
        targets = numbers(saved["targets"]["modules"])
        assert same(numbers(restored["targets"]["modules"]), targets)
        assert not same(targets, numbers(saved["learner"]["modules"]))  # it does lag behind
        assert saved["targets"]["num_updates"] > 0


@by_algorithm
def test_two_runs_restored_from_one_checkpoint_go_on_alike(name: str, tmp_path: Path) -> None:
    with config(name).build() as trained:
        for _ in range(5):
            trained.train()
        trained.save(tmp_path)
    with Algorithm.from_checkpoint(tmp_path) as first, Algorithm.from_checkpoint(tmp_path) as second:
        results = [[algorithm.train()["learners"] for _ in range(4)] for algorithm in (first, second)]
        assert results[0] == results[1]
        assert results[0][0]["default_policy"]["lag_max"] == 0.0  # weights are sent anew


def test_what_was_in_the_buffer_is_counted_as_dropped_in_a_checkpoint(tmp_path: Path) -> None:
    with config("appo", circular_buffer_num_batches=4).build() as trained:
        trained._buffer.push(trained.collect())  # sampled, and not learned from as yet
        waiting = trained.train()["env_runners"]["num_env_steps_in_flight"]
        trained.save(tmp_path)
    with APPO.from_checkpoint(tmp_path) as again:
        counts = again.train()["env_runners"]

    assert waiting > 0
    assert counts["num_env_steps_dropped_lifetime"] == waiting
    assert counts["num_env_steps_sampled_lifetime"] == (
        counts["num_env_steps_trained_lifetime"] + counts["num_env_steps_dropped_lifetime"]
    )


def test_a_checkpoint_of_the_other_algorithm_is_refused(tmp_path: Path) -> None:
    with config("impala").build() as one, config("appo").build() as other:
        one.save(tmp_path)
        with pytest.raises(CheckpointError, match="was saved by 'impala', this is 'appo'"):
            other.restore(tmp_path)


def test_a_target_network_is_a_copy_to_begin_with_and_no_optimizer_moves_it() -> None:
    weights_alone: dict[str, Any] = {"fcnet_hiddens": [8]}  # as the normaliser is that of what learns
    with config("appo", target_network_update_freq=10_000, model=weights_alone).build() as algorithm:
        before = numbers(algorithm.modules.get_state())
        assert same(numbers(algorithm._targets.get_state()["modules"]), before)
        for _ in range(3):
            values = algorithm.train()["learners"]["default_policy"]

        assert same(numbers(algorithm._targets.get_state()["modules"]), before)
        assert not same(numbers(algorithm.modules.get_state()), before)
        assert values["num_target_updates"] == 0


def test_target_networks_follow_every_so_many_steps_that_were_learned_from() -> None:
    changed = {"circular_buffer_num_batches": 1, "target_network_update_freq": 250}  # each of 60 .. 64, twice
    with config("appo", **changed).build() as algorithm:
        seen = [algorithm.train()["learners"]["default_policy"]["num_target_updates"] for _ in range(10)]

    assert seen[-1] in (4, 5)
    assert seen[0] == 0


# --- many modules ---------------------------------------------------------------------------------


def crossed(name: str, **multi_agent: Any) -> Any:
    made = CONFIGS[name]().environment(CrossedAgents).multi_agent(policy_mapping_fn=same_name, **multi_agent)
    made.training(train_batch_size=40, broadcast_interval=2, model={"fcnet_hiddens": [8]})
    return made.env_runners(num_envs_per_env_runner=4, rollout_fragment_length=10).debugging(seed=0)


def same_name(agent: str) -> str:
    return agent


def like_a0() -> SingleAgentRLModuleSpec:
    """The spaces are not those of all agents, so they have to be given."""
    env = CrossedAgents({})
    return SingleAgentRLModuleSpec(
        observation_space=env.observation_spaces["a0"], action_space=env.action_spaces["a0"]
    )


@by_algorithm
def test_modules_that_are_not_trained_stay_as_they_are_bit_for_bit_and_the_others_move(name: str) -> None:
    with crossed(name, policies_to_train=["a0", "a2"]).build() as algorithm:
        before = {key: numbers(module.get_state()) for key, module in algorithm.modules.items()}
        learned = [set(algorithm.train()["learners"]) for _ in range(4)]
        after = {key: numbers(module.get_state()) for key, module in algorithm.modules.items()}
        assert isinstance(algorithm.pool, LocalPool)
        assert algorithm.pool._own is not None
        acted = numbers(algorithm.pool._own.modules["a1"].get_state())

    assert learned == [{"a0", "a2"}] * 4
    assert same(before["a1"], after["a1"])
    assert same(acted, after["a1"])
    assert not same(before["a0"], after["a0"])


@by_algorithm
def test_a_module_without_data_is_skipped_and_the_others_go_on(name: str) -> None:
    policies = {**dict.fromkeys(["a0", "a1", "a2"]), "nobody": like_a0()}
    with crossed(name, policies=policies).build() as algorithm:
        before = numbers(algorithm.modules["nobody"].get_state())
        learned = [set(algorithm.train()["learners"]) for _ in range(3)]
        after = numbers(algorithm.modules["nobody"].get_state())

    assert learned == [{"a0", "a1", "a2"}] * 3
    assert same(before, after)


@by_algorithm
def test_a_module_that_joins_acts_at_once_with_its_own_weights_and_learns(name: str) -> None:
    late: list[str] = []

    def mapping(agent: str) -> str:
        return late[0] if late and agent == "a0" else agent

    with crossed(name).multi_agent(policy_mapping_fn=mapping).build() as algorithm:
        algorithm.train()
        algorithm.add_module("new", like_a0())
        late.append("new")
        results = [algorithm.train() for _ in range(6)]
        assert isinstance(algorithm.pool, LocalPool)
        assert algorithm.pool._own is not None
        assert set(algorithm.pool._own.modules) == {"a0", "a1", "a2", "new"}
        first = next(result["learners"]["new"] for result in results if "new" in result["learners"])
        algorithm.remove_module("a0")
        after = [set(algorithm.train()["learners"]) for _ in range(3)]

    assert first["lag_min"] <= 1.0
    if name == "impala":
        assert first["mean_rho"] > 0.99
    assert after[-1] == {"a1", "a2", "new"}


# --- what acts, and what is learned from, after a change ------------------------------------------


def acting(algorithm: Any, module_id: str) -> list[Any]:
    assert isinstance(algorithm.pool, LocalPool)
    assert algorithm.pool._own is not None
    return numbers(algorithm.pool._own.modules[module_id].get_state())


@by_algorithm
def test_restored_weights_act_at_once_however_seldom_weights_are_sent(name: str, tmp_path: Path) -> None:
    with config(name, broadcast_interval=50).build() as trained:
        for _ in range(3):
            trained.train()
        trained.save(tmp_path)
        with config(name, 9, broadcast_interval=50).build() as other:
            other.train()
            other.restore(tmp_path)
            other.collect()

            assert same(acting(other, "default_policy"), numbers(trained.get_module().get_state()))


@by_algorithm
def test_the_weights_of_a_module_that_joins_act_at_once_however_seldom_weights_are_sent(name: str) -> None:
    with crossed(name).training(broadcast_interval=50).build() as algorithm:
        algorithm.train()
        algorithm.add_module("new", like_a0())
        algorithm.collect()

        assert same(acting(algorithm, "new"), numbers(algorithm.modules["new"].get_state()))


def test_nothing_from_before_a_restore_is_learned_from(tmp_path: Path) -> None:
    with config("appo", circular_buffer_num_batches=3).build() as algorithm:
        algorithm.save(tmp_path)
        for _ in range(5):
            updates = algorithm.train()["learners"]["default_policy"]["num_updates"]
        algorithm.restore(tmp_path)
        result = algorithm.train()

    counts = result["env_runners"]
    assert updates == 2  # of a full buffer
    assert result["learners"]["default_policy"]["num_updates"] == 1
    assert counts["num_env_steps_trained_lifetime"] == counts["num_env_steps_sampled_lifetime"]


def test_the_target_network_of_a_module_that_joins_is_a_copy_of_it() -> None:
    with crossed("appo").build() as algorithm:
        algorithm.train()
        joined = algorithm.add_module("new", like_a0())

        assert same(numbers(algorithm._targets["new"].get_state()), numbers(joined.get_state()))


def test_a_module_that_comes_under_the_id_of_one_that_left_begins_with_the_kl_coefficient_of_the_config() -> (
    None
):
    with crossed("appo").training(use_kl_loss=True, kl_coeff=0.5, kl_target=1e-9).build() as algorithm:
        before = [algorithm.train()["learners"]["a0"]["curr_kl_coeff"] for _ in range(3)]
        algorithm.remove_module("a0")
        algorithm.add_module("a0", like_a0())
        results = [algorithm.train()["learners"] for _ in range(3)]

    assert before[-1] > 0.5
    assert next(learned["a0"] for learned in results if "a0" in learned)["curr_kl_coeff"] == 0.5
