"""IMPALA and APPO as wholes: actors that lag behind, and what becomes of every step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import Algorithm, APPOConfig, EnvError, ImpalaConfig, PPOConfig
from rlmodule_algos.actor_learner import ActorLearner
from rlmodule_algos.execution import LocalPool
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.testing import CrossedAgents, RepeatPrevious
from rlmodule_core.nest import leaves

SMALL: dict[str, Any] = {"train_batch_size": 64, "model": {"fcnet_hiddens": [8]}}
NORMALIZED: dict[str, Any] = {"fcnet_hiddens": [8], "normalize_observations": True}
LSTM: dict[str, Any] = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5}
CONFIGS = {"impala": ImpalaConfig, "appo": APPOConfig}
by_algorithm = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def config(
    name: str, env: Any = "CartPole-v1", *, length: int | None = 8, seed: int = 0, **training: Any
) -> Any:
    settings = CONFIGS[name]().environment(env).training(**{**SMALL, **training}).debugging(seed=seed)
    return settings.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=length)


def learned(algorithm: Algorithm[Any]) -> dict[str, float]:
    values: dict[str, float] = algorithm.train()["learners"]["default_policy"]
    return values


def weights(modules: Any, module_id: str = "default_policy") -> list[Any]:
    return [np.copy(leaf) for leaf in leaves(modules[module_id].get_state())]


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def acting(algorithm: ActorLearner[Any]) -> Any:
    assert isinstance(algorithm.pool, LocalPool)
    assert algorithm.pool._own is not None
    return algorithm.pool._own.modules


# --- lag ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_actors_are_as_many_updates_behind_as_the_interval_allows(interval: int) -> None:
    with config("impala", broadcast_interval=interval).build() as algorithm:
        lags = [learned(algorithm)["lag_max"] for _ in range(7)]

    assert lags == [step % interval for step in range(7)]


def test_a_batch_that_is_used_again_is_older_then() -> None:
    changed = {"circular_buffer_num_batches": 3, "circular_buffer_iterations_per_batch": 2}
    with config("appo", **changed).build() as algorithm:
        seen = [learned(algorithm) for _ in range(6)]

    assert [values["lag_min"] for values in seen] == [0.0] * 6
    # the second use comes two iterations later, after three updates more, or four from then on
    assert [values["lag_max"] for values in seen] == [0, 0, 3, 4, 5, 5]
    assert [values["num_updates"] for values in seen] == [1, 1, 2, 2, 2, 2]


@by_algorithm
def test_those_that_act_are_a_copy_that_only_a_broadcast_moves(name: str) -> None:
    changed: dict[str, Any] = {"circular_buffer_iterations_per_batch": 1} if name == "appo" else {}
    with config(name, broadcast_interval=2, model=NORMALIZED, **changed).build() as algorithm:
        algorithm.train()
        first = weights(acting(algorithm))
        after_one = weights(algorithm.modules)
        algorithm.train()
        assert same(weights(acting(algorithm)), first)
        assert not same(after_one, first)
        after_two = weights(algorithm.modules)
        algorithm.train()

        assert same(weights(acting(algorithm)), after_two)  # weights and normaliser together
        assert not same(weights(algorithm.modules), after_two)


RATIO_ONE: dict[str, tuple[Any, dict[str, Any]]] = {
    "dense": ("CartPole-v1", {"fcnet_hiddens": [8]}),
    "continuous": ("Pendulum-v1", {"fcnet_hiddens": [8], "free_log_std": True}),
    "normalised": ("Pendulum-v1", NORMALIZED),
    "recurrent": (lambda settings: RepeatPrevious({"num_envs": 4}), LSTM),
    "recurrent, burn-in": (lambda settings: RepeatPrevious({"num_envs": 4}), {**LSTM, "burn_in": 2}),
}


@pytest.mark.parametrize("case", RATIO_ONE)
@by_algorithm
def test_at_lag_0_every_ratio_is_one(name: str, case: str) -> None:
    env, model = RATIO_ONE[case]
    once: dict[str, Any] = {"circular_buffer_iterations_per_batch": 1} if name == "appo" else {}
    # the target network is refreshed with every update, so that pi_T is mu
    follow: dict[str, Any] = {"target_network_update_freq": 1} if name == "appo" else {}
    with config(name, env, model=model, lr=1e-2, **once, **follow).build() as algorithm:
        for _ in range(4):
            values = learned(algorithm)

            assert values["lag_max"] == 0.0
            assert values["mean_rho"] == pytest.approx(1.0, abs=1e-5)
            assert values["mean_kl"] == pytest.approx(0.0, abs=1e-6)
            assert values["clip_fraction"] == 0.0


def test_at_lag_2_ratios_are_not_one() -> None:
    with config("impala", broadcast_interval=3, lr=1e-2).build() as algorithm:
        rhos = [learned(algorithm)["mean_rho"] for _ in range(3)]

    assert rhos[0] == pytest.approx(1.0, abs=1e-5)
    assert max(rhos[1:]) < 0.999


# --- what became of every step --------------------------------------------------------------------


def ledger(result: Mapping[str, Any]) -> tuple[int, int, int, int]:
    counts = result["env_runners"]
    return (
        counts["num_env_steps_sampled_lifetime"],
        counts["num_env_steps_trained_lifetime"],
        counts["num_env_steps_dropped_lifetime"],
        counts["num_env_steps_in_flight"],
    )


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("impala", {}),
        ("impala", {"broadcast_interval": 3}),
        *(
            ("appo", {"circular_buffer_num_batches": n, "circular_buffer_iterations_per_batch": k})
            for n, k in [(1, 1), (1, 3), (4, 2), (3, 5)]
        ),
    ],
)
def test_every_step_sampled_is_trained_dropped_or_in_flight(name: str, changed: dict[str, Any]) -> None:
    with config(name, **changed).build() as algorithm:
        for _ in range(12):
            result = algorithm.train()
            sampled, trained, dropped, in_flight = ledger(result)

            assert sampled == trained + dropped + in_flight
            assert result["env_runners"]["num_env_steps_trained"] > 0
            assert dropped == 0  # where sampling and learning take turns nothing is wasted
    assert sampled == algorithm.env_steps


class Fragile(gym.Env[Any, Any]):
    """Breaks once, in step 21 of its first environment."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (1,))
    action_space = gym.spaces.Discrete(2)
    broken = False

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        if self.t == 21 and not Fragile.broken:
            Fragile.broken = True
            raise OSError("unplugged")
        return np.zeros(1, np.float32), 0.0, False, False, {}


@by_algorithm
def test_a_fragment_that_was_whole_before_another_failed_is_dropped_with_it(name: str) -> None:
    Fragile.broken = False
    with config(name, Fragile, length=5, train_batch_size=120).build() as algorithm:  # 3 fragments
        algorithm.train()
        with pytest.raises(EnvError, match="unplugged"):
            algorithm.train()
        sampled, trained, dropped, in_flight = ledger(algorithm.train())

    assert sampled == trained + dropped + in_flight
    assert dropped == 40


def test_many_agents_keep_the_same_books() -> None:
    made = CONFIGS["appo"]().environment(CrossedAgents).multi_agent(policy_mapping_fn=lambda agent: agent)
    made.env_runners(num_envs_per_env_runner=4, rollout_fragment_length=5).debugging(seed=0)
    with made.training(train_batch_size=40, model={"fcnet_hiddens": [8]}).build() as algorithm:
        for _ in range(6):
            result = algorithm.train()
            sampled, trained, dropped, in_flight = ledger(result)
            assert sampled == trained + dropped + in_flight == 40 * result["training_iteration"]
            assert set(result["learners"]) == {"a0", "a1", "a2"}


# --- fragments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "shapes"), [(8, [(8, 8)]), (4, [(4, 8)] * 2), (None, [(8, 8)])])
def test_a_batch_is_as_many_whole_fragments_as_it_needs(
    length: int | None, shapes: list[tuple[int, int]]
) -> None:
    with config("impala", "Pendulum-v1", length=length).build() as algorithm:
        batch = algorithm.collect()

    assert [part.rewards.shape for part in batch.fragments["default_policy"]] == shapes
    assert batch.num_env_steps == 64


def test_a_batch_that_fragments_do_not_divide_is_larger_and_learned_from_whole() -> None:
    with config("impala", "Pendulum-v1", length=6).build() as algorithm:
        counts = algorithm.train()["env_runners"]

    assert counts["num_env_steps_trained"] == counts["num_env_steps_sampled"] == 96


def test_steps_cut_into_fragments_teach_what_lies_within_them() -> None:
    """The same steps in one fragment or in two: other targets, as the second is not looked into."""
    with config("impala").build() as one, config("impala", length=4).build() as two:
        whole, halves = one.collect(), two.collect()
        key = "default_policy"
        joined = [np.concatenate([part.rewards for part in b.fragments[key]]) for b in (whole, halves)]
        rows = [algorithm._batch(key, b.fragments[key]) for algorithm, b in ((one, whole), (two, halves))]

    np.testing.assert_array_equal(joined[0], joined[1])
    assert not np.allclose(rows[0]["value_targets"], rows[1]["value_targets"])
    np.testing.assert_allclose(rows[0]["vf_preds"], rows[1]["vf_preds"], atol=1e-6)


def test_ppo_takes_fragments_of_a_length_too() -> None:
    made = PPOConfig().environment("Pendulum-v1").training(train_batch_size=64, minibatch_size=64)
    made.training(num_epochs=1, model={"fcnet_hiddens": [8]})
    made.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=3)
    with made.debugging(seed=0).build() as algorithm:
        shapes = [part.rewards.shape for part in algorithm.pool.sample(64)["default_policy"]]
        sampled = algorithm.train()["env_runners"]["num_env_steps_sampled"]

    assert shapes == [(3, 8)] * 3
    assert sampled == 72


# --- results --------------------------------------------------------------------------------------


@by_algorithm
def test_results_have_the_same_keys_from_the_first_iteration_on(name: str) -> None:
    with config(name).build() as algorithm:
        results = [algorithm.train() for _ in range(5)]

    wanted = {"total_loss", "policy_loss", "vf_loss", "entropy", "mean_kl", "clip_fraction", "grad_norm"}
    wanted |= {"vf_explained_var", "curr_lr", "curr_kl_coeff", "curr_entropy_coeff"}
    wanted |= {"mean_rho", "lag_min", "lag_mean", "lag_max"}
    assert wanted <= results[0]["learners"]["default_policy"].keys()
    for result in results[1:]:
        assert result.keys() == results[0].keys()
        for part in ("env_runners", "timers"):
            assert result[part].keys() == results[0][part].keys()
        assert result["learners"]["default_policy"].keys() == results[0]["learners"]["default_policy"].keys()
        assert all(map(math.isfinite, result["learners"]["default_policy"].values()))


@by_algorithm
def test_an_update_whose_gradient_is_not_finite_is_skipped_and_counted(name: str) -> None:
    import torch

    with config(name).build() as algorithm:
        with torch.no_grad():
            for parameter in algorithm.get_module().vf.parameters():
                parameter.fill_(torch.nan)
        before = weights(algorithm.modules)
        values = learned(algorithm)
        after = weights(algorithm.modules)

    assert math.isnan(values["total_loss"])
    assert values["num_skipped_updates"] >= 1
    assert values["num_updates"] == 0
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True))
