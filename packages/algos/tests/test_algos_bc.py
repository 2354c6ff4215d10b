"""BC as a whole: what must hold whatever is cloned."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import BCConfig, ConfigError
from rlmodule_algos.bc.bc import bc_module_loss
from rlmodule_algos.offline import OfflineDataError
from rlmodule_algos.offline.episode import episode_from_columns
from rlmodule_algos.offline.feed import SequenceFeed
from rlmodule_algos.testing import episodes
from rlmodule_core.state import flatten_state

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
SMALL: dict[str, Any] = {"train_batch_size": 256, "minibatch_size": 64, "model": {"fcnet_hiddens": [16]}}
LSTM: dict[str, Any] = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8}
NORMALIZED: dict[str, Any] = {"fcnet_hiddens": [16], "normalize_observations": True}


def lean_and_velocity(obs: Any, starts: Any) -> Any:
    return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def data() -> Any:
    return episodes(gym.make_vec("CartPole-v1", 4), lean_and_velocity, 4, seed=0)


def config(data: Any, **training: Any) -> BCConfig:
    settings = BCConfig().environment("CartPole-v1").training(**{**SMALL, **training})
    return settings.offline_data(input_=data).debugging(seed=0)


def test_nothing_is_burned_where_an_episode_begins_as_the_state_is_known_there(data: Any) -> None:
    with config(data, model={**LSTM, "max_seq_len": 6, "burn_in": 2}).build() as algorithm:
        batch = algorithm._data["default_policy"].feed.first(40)
    begins, mask = batch["is_first"][:, 0], batch["mask"]
    assert 0 < begins.sum() < len(begins)
    assert not batch["is_first"][:, 1:].any()
    np.testing.assert_array_equal(batch["loss_mask"][begins], mask[begins])
    np.testing.assert_array_equal(batch["loss_mask"][~begins], mask[~begins] & (np.arange(6) >= 2))


# --- every hyperparameter is live -------------------------------------------------------------

CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"lr": 1e-2}),
    ({}, {"lr": [[0, 1e-2], [512, 1e-5]]}),
    ({}, {"train_batch_size": 512}),
    ({}, {"minibatch_size": 32}),
    ({}, {"num_epochs": 2}),
    ({}, {"grad_clip": 0.01}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "value"}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "norm"}),
    ({}, {"adam_epsilon": 1e-2}),
    ({}, {"model": {"fcnet_hiddens": [16], "fcnet_activation": "relu"}}),
    ({}, {"model": LSTM}),
    ({"model": LSTM}, {"model": {**LSTM, "max_seq_len": 5}}),
    ({"model": LSTM}, {"model": {**LSTM, "burn_in": 2}}),
    ({}, {"model": NORMALIZED}),
    ({"model": NORMALIZED}, {"model": {**NORMALIZED, "observation_clip": 0.5}}),
]


def learned(data: Any, **training: Any) -> list[dict[str, float]]:
    with config(data, **training).build() as algorithm:
        return [algorithm.train()["learners"]["default_policy"] for _ in range(3)]


@pytest.mark.parametrize(("base", "changed"), CHANGES)
def test_changing_a_hyperparameter_changes_what_is_cloned(
    data: Any, base: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert learned(data, **base) != learned(data, **{**base, **changed})


def test_every_setting_of_bc_is_among_those_that_were_changed() -> None:
    settings = set(BCConfig.training_settings.__annotations__) - {"gamma"}

    assert {name for _, changed in CHANGES for name in changed} == settings


# --- settings that BC does not look at ----------------------------------------------------------

WITHOUT_EFFECT: list[tuple[str, str, Any, str]] = [
    ("training", "gamma", 0.9, "discounts nothing"),
    ("env_runners", "num_env_runners", 2, "samples nothing"),
    ("env_runners", "num_envs_per_env_runner", 4, "samples nothing"),
    ("env_runners", "rollout_fragment_length", 8, "samples nothing"),
    ("env_runners", "max_requests_in_flight_per_env_runner", 3, "samples nothing"),
    ("fault_tolerance", "restart_failed_env_runners", False, "samples nothing"),
    ("fault_tolerance", "max_num_env_runner_restarts", 5, "samples nothing"),
    ("fault_tolerance", "restart_delay_s", 1.0, "samples nothing"),
    ("fault_tolerance", "sample_timeout_s", 1.0, "samples nothing"),
]


@pytest.mark.parametrize(("group", "name", "value", "why"), WITHOUT_EFFECT)
def test_a_setting_without_effect_is_refused_however_it_is_given(
    group: str, name: str, value: Any, why: str
) -> None:
    settings = BCConfig().environment("CartPole-v1")
    before, said = settings.to_dict(), rf"{name}: BC .*{why}; leave it out"

    with pytest.raises(ConfigError, match=said):
        getattr(settings, group)(**{name: value})
    with pytest.raises(ConfigError, match=said):
        setattr(settings, name, value)
    with pytest.raises(ConfigError, match=said):
        BCConfig.from_json({**settings.to_json(), name: value})
    assert settings.to_dict() == before
    assert BCConfig.from_json(settings.to_json()).to_json() == settings.to_json()


def test_settings_of_learners_in_other_processes_have_an_effect_and_are_taken() -> None:
    settings = BCConfig().learners(num_learners=2).env_runners(ray_address="auto")
    settings.fault_tolerance(max_failures_in_a_row=1, start_timeout_s=9.0, learn_timeout_s=9.0)

    assert settings.learn_timeout_s == settings.start_timeout_s == 9.0


def test_all_settings_without_effect_are_named_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"env_runners: num_env_runners: BC .*; rollout_fragment_length: BC "
    ):
        BCConfig().env_runners(num_env_runners=2, rollout_fragment_length=8)


def test_the_seed_decides_what_is_cloned(data: Any) -> None:
    def with_seed(seed: int) -> float:
        with config(data).debugging(seed=seed).build() as algorithm:
            return float(algorithm.train()["learners"]["default_policy"]["total_loss"])

    assert with_seed(1) == with_seed(1) != with_seed(2)


@pytest.mark.parametrize("memory", [False, True])
def test_observations_are_normalised_by_what_is_learned_from_before_the_first_step(
    data: Any, memory: bool
) -> None:
    model = {**NORMALIZED, **(LSTM if memory else {})}
    with config(data, model=model).offline_data(validation_fraction=0.0).build() as algorithm:
        moments = flatten_state(algorithm.get_module().get_state())
        algorithm.train()
        later = flatten_state(algorithm.get_module().get_state())

    seen = np.concatenate([episode["obs"][:-1] for episode in data])
    (mean,) = (array for name, array in moments.items() if name.endswith("mean"))
    np.testing.assert_allclose(mean, seen.mean(axis=0), rtol=1e-3, atol=1e-4)
    assert all((later[name] == moments[name]).all() for name in moments if "mean" in name)


# --- data -------------------------------------------------------------------------------------


def test_the_loss_falls_on_what_is_learned_from_and_on_what_is_held_out(data: Any) -> None:
    with config(data, lr=1e-2).offline_data(validation_fraction=0.25).build() as algorithm:
        results = [algorithm.train()["learners"]["default_policy"] for _ in range(60)]

    assert results[0]["total_loss"] == pytest.approx(math.log(2), abs=0.1)
    assert results[-1]["total_loss"] < 0.3
    assert results[-1]["validation_loss"] < 0.4


def test_without_validation_episodes_their_loss_is_nan(data: Any) -> None:
    with config(data).offline_data(validation_fraction=0.0).build() as algorithm:
        learned = algorithm.train()["learners"]["default_policy"]

    assert math.isnan(learned["validation_loss"])


def test_steps_are_counted_as_they_are_learned_from_and_nothing_is_sampled(data: Any) -> None:
    with config(data).build() as algorithm:
        results = [algorithm.train() for _ in range(3)]

        assert algorithm.env_steps == 3 * 256
    assert all(result["env_runners"]["num_env_steps_sampled"] == 0 for result in results)


def test_bc_without_data_evaluates_but_says_what_training_needs() -> None:
    with config(None).build() as algorithm:
        played = algorithm.evaluate(num_episodes=2)["evaluation"]

        assert played["num_episodes"] == 2
        with pytest.raises(ValueError, match=r"nothing to learn from: call \.offline_data\(input_="):
            algorithm.train()


def test_data_of_another_environment_is_refused_at_build(data: Any) -> None:
    with pytest.raises(OfflineDataError, match="obs"):
        BCConfig().environment("Acrobot-v1").offline_data(input_=data).build()


# --- memory -----------------------------------------------------------------------------------


def begun(data: Any, steps: int) -> Any:
    """The first steps of each episode, as if it had been truncated there."""
    cut = {"actions": steps, "rewards": steps, "terminated": steps, "obs": steps + 1}
    return [
        {name: episode[name][:size] for name, size in cut.items()} | {"truncated": True} for episode in data
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_only_steps_behind_the_burn_in_carry_loss(data: Any, framework: str) -> None:
    settings = config(None, model={**LSTM, "max_seq_len": 5, "burn_in": 2}).framework(framework)
    with settings.build() as algorithm:
        module, bridge = algorithm.get_module(), algorithm.framework.bridge
        loss = bc_module_loss(module, algorithm.framework)
        recorded = [episode_from_columns(episode) for episode in data]
        batch = SequenceFeed(recorded, module, bridge, seed=0).next(64)

        def total(actions: Any) -> float:
            found = loss(bridge.to_tensors({**batch, "actions": actions}), {}).total_loss
            return float(bridge.to_numpy(found))

        actions, counts = batch["actions"], batch["loss_mask"]
        assert (batch["mask"] & ~counts).any()
        assert total(np.where(counts, actions, 1 - actions)) == total(actions)
        assert total(np.where(counts, 1 - actions, actions)) != total(actions)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_episodes_that_are_not_longer_than_the_burn_in_are_learned_from(data: Any, framework: str) -> None:
    model = {**LSTM, "max_seq_len": 8, "burn_in": 5}
    short = config(begun(data, 5), model=model, minibatch_size=8).framework(framework)
    with short.offline_data(validation_fraction=0.25).build() as algorithm:
        learned = algorithm.train()["learners"]["default_policy"]

    assert learned["num_steps_trained"] == 3 * 5
    assert learned["total_loss"] == pytest.approx(math.log(2), abs=0.1)
    assert learned["validation_loss"] == pytest.approx(math.log(2), abs=0.1)
