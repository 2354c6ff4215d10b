"""What a config says to those who come from elsewhere can be followed; what would do nothing is refused."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

import rlmodule_algos
from rlmodule_algos import APPOConfig, BCConfig, ConfigError, ImpalaConfig, PPOConfig
from rlmodule_algos.settings import RENAMED

CONFIGS: list[Any] = [PPOConfig, ImpalaConfig, APPOConfig, BCConfig]
ADVICE = [(config, name) for config in CONFIGS for name in sorted({*RENAMED, *config.hints})]


def homes(config: Any) -> dict[str, str]:
    """Each setting and the setter that takes it."""
    return {name: group for group, declared in config._groups().items() for name in declared.__annotations__}


@pytest.mark.parametrize(("config", "name"), ADVICE)
def test_no_advice_leads_to_a_setting_that_the_config_refuses(config: Any, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config().training(**{name: 1})

    said = str(caught.value)
    for setting in re.findall(r"'(\w+)'", said.removeprefix(f"training: '{name}' is ")):
        if f"'{setting}', which is no setting" in said:
            continue  # others have it
        made = config()
        getattr(made, homes(config)[setting])(**{setting: getattr(made, setting)})  # it is taken


@pytest.mark.parametrize(
    ("config", "name", "said"),
    [
        (ImpalaConfig, "batch_size", "'batch_size' is 'train_batch_size', as a batch is learned from in one"),
        (APPOConfig, "sgd_minibatch_size", "'train_batch_size', as a batch is learned from in one step"),
        (ImpalaConfig, "n_epochs", "'n_epochs' is always 1 here"),
        (APPOConfig, "n_epochs", "'circular_buffer_iterations_per_batch'"),
        (ImpalaConfig, "target_kl", "a setting of PPO and APPO"),
        (APPOConfig, "target_kl", "'kl_target' with use_kl_loss=True"),
        (ImpalaConfig, "clip_range", "'clip_range' is a setting of PPO and APPO"),
        (APPOConfig, "clip_range", "'clip_range' is 'clip_param' here"),
        (BCConfig, "clip_range", "'clip_range' is another name of 'clip_param', which is no setting here"),
        (BCConfig, "num_workers", "another name of 'num_env_runners', which is no setting here"),
    ],
)
def test_what_other_libraries_have_is_answered_for_this_algorithm(config: Any, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config().training(**{name: 1})
    assert said in str(caught.value)

    with pytest.raises(ConfigError) as caught:
        setattr(config(), name, 1)  # an assignment says the same
    assert said in str(caught.value)


# --- without effect -------------------------------------------------------------------------------

HERE = "samples in this process (num_env_runners is 0)"
NO_LEARNERS = "computes gradients in this process (num_learners is 0)"
IDLE: list[tuple[str, dict[str, Any], str]] = [
    ("env_runners", {"ray_address": "auto"}, "ray_address"),
    ("env_runners", {"max_requests_in_flight_per_env_runner": 3}, HERE),
    ("fault_tolerance", {"sample_timeout_s": 5.0}, HERE),
    ("fault_tolerance", {"restart_failed_env_runners": False}, HERE),
    ("fault_tolerance", {"max_num_env_runner_restarts": 3}, HERE),
    ("fault_tolerance", {"restart_delay_s": 3.0}, HERE),
    ("fault_tolerance", {"learn_timeout_s": 3.0}, NO_LEARNERS),
    ("fault_tolerance", {"start_timeout_s": 3.0}, f"{HERE}, and {NO_LEARNERS}"),
    ("fault_tolerance", {"max_failures_in_a_row": 5}, f"{HERE}, and {NO_LEARNERS}"),
]


@pytest.mark.parametrize(("group", "setting", "said"), IDLE)
def test_settings_of_other_processes_are_refused_where_there_are_none(
    group: str, setting: dict[str, Any], said: str
) -> None:
    made = ImpalaConfig().environment("CartPole-v1")
    with pytest.raises(ConfigError) as caught:
        getattr(made.copy(), group)(**setting).validate()
    assert f"{group}: {next(iter(setting))}" in str(caught.value)
    assert said in str(caught.value)
    assert "leave it out" in str(caught.value)

    getattr(made, group)(**setting).env_runners(num_env_runners=1).learners(num_learners=1).validate()


def test_settings_of_what_another_setting_switches_off_are_refused_all_at_once() -> None:
    made = APPOConfig().environment("CartPole-v1").env_runners(num_env_runners=1)
    made.training(kl_coeff=0.5, kl_target=0.5)
    made.training(circular_buffer_num_batches=4, circular_buffer_iterations_per_batch=1)
    made.fault_tolerance(restart_failed_env_runners=False, restart_delay_s=3.0)
    made.fault_tolerance(max_num_env_runner_restarts=3, max_failures_in_a_row=5)
    with pytest.raises(ConfigError) as caught:
        made.validate()

    said = str(caught.value)
    for name, why in (
        ("training: kl_coeff=0.5", "use_kl_loss is False"),
        ("training: kl_target=0.5", "use_kl_loss is False"),
        ("training: circular_buffer_num_batches=4", "circular_buffer_iterations_per_batch is 1"),
        ("fault_tolerance: restart_delay_s=3.0", "restart_failed_env_runners is False"),
        ("fault_tolerance: max_num_env_runner_restarts=3", "restart_failed_env_runners is False"),
        ("fault_tolerance: max_failures_in_a_row=5", "restart_failed_env_runners is False"),
    ):
        assert re.search(rf"{name} would have no effect, [^;]*{why}; leave it out", said)
    made.training(use_kl_loss=True, circular_buffer_iterations_per_batch=2)
    made.fault_tolerance(restart_failed_env_runners=True).validate()


def test_a_kl_penalty_around_a_target_network_that_is_the_policy_itself_is_refused() -> None:
    made = APPOConfig().environment("CartPole-v1").training(use_kl_loss=True, train_batch_size=256)
    made.training(target_network_update_freq=256)
    with pytest.raises(ConfigError, match=r"use_kl_loss=True would.*update_freq=256 .*train_batch_size=256;"):
        made.validate()
    made.copy().training(tau=0.5).validate()
    made.training(target_network_update_freq=257).validate()


def test_a_setting_that_still_does_something_is_not_refused() -> None:
    made = APPOConfig().environment("CartPole-v1").env_runners(num_env_runners=1).learners(num_learners=1)
    made.training(circular_buffer_num_batches=1, circular_buffer_iterations_per_batch=1)  # no batch twice
    made.fault_tolerance(restart_failed_env_runners=False, max_failures_in_a_row=5).validate()  # of a learner


def test_a_setting_that_is_switched_off_is_refused_though_it_is_set_to_its_default() -> None:
    made = PPOConfig().environment("CartPole-v1").training(kl_coeff=PPOConfig().kl_coeff)
    made.sample_timeout_s = made.sample_timeout_s
    for twin in (made, made.copy(), made.copy().freeze(), pickle.loads(pickle.dumps(made))):
        with pytest.raises(ConfigError, match=r"sample_timeout_s=60\.0 would.*kl_coeff=0\.2 would"):
            twin.validate()
    made.copy().training(use_kl_loss=True).env_runners(num_env_runners=1).validate()

    PPOConfig().environment("CartPole-v1").env_runners(ray_address=None).validate()  # asks for nothing


def test_a_setting_that_is_switched_off_in_a_file_is_refused_unless_it_is_the_default() -> None:
    data = APPOConfig().environment("CartPole-v1").to_json()
    APPOConfig.from_json(data).validate()
    with pytest.raises(ConfigError, match=r"kl_target=0\.5 would have no effect"):
        APPOConfig.from_json({**data, "kl_target": 0.5}).validate()


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_class_with_arguments_of_its_own_is_validated_as_others_are(kind: Any) -> None:
    class Mine(kind):  # type: ignore[misc]
        def __init__(self, hidden: int) -> None:
            super().__init__()
            self.training(model={"fcnet_hiddens": [hidden]})

    made = Mine(8).environment("CartPole-v1")
    with made.copy().build() as algorithm:
        assert algorithm.config.to_dict()["model"] == {"fcnet_hiddens": [8]}
    with pytest.raises(ConfigError, match=r"learn_timeout_s=3\.0 would have no effect"):
        made.fault_tolerance(learn_timeout_s=3.0).build()


def test_ppo_says_of_its_kl_settings_and_of_its_minibatches_what_is_wrong_in_one_error() -> None:
    made = (
        PPOConfig().environment("CartPole-v1").training(kl_target=0.5, minibatch_size=64, train_batch_size=32)
    )
    with pytest.raises(ConfigError, match=r"kl_target=0\.5 would have no effect.*; training: minibatch_size"):
        made.validate()


def test_all_that_would_do_nothing_stands_in_one_error() -> None:
    made = PPOConfig().env_runners(ray_address="auto").fault_tolerance(sample_timeout_s=5.0)
    with pytest.raises(ConfigError) as caught:
        made.build()

    for said in ("no environment", "ray_address", "sample_timeout_s"):
        assert said in str(caught.value)


@pytest.mark.parametrize("device", ["gpu", "GPU", "gpu:1"])
def test_a_gpu_is_called_cuda_in_torch(device: str) -> None:
    made = PPOConfig().environment("CartPole-v1").learners(device=device)
    with pytest.raises(ConfigError, match=f"learners: device='{device}': .* use 'cuda{device[3:]}'"):
        made.build()

    made.framework("tf").validate()  # TensorFlow has that name


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "here"), [("IMPALAConfig", "ImpalaConfig"), ("IMPALA", "Impala")])
def test_the_name_of_another_library_is_answered_with_the_name_here(name: str, here: str) -> None:
    with pytest.raises(ImportError, match=f"{name} is {here} here: from rlmodule_algos import {here}"):
        getattr(rlmodule_algos, name)
    with pytest.raises(ImportError, match=f"{name} is {here} here"):
        exec(f"from rlmodule_algos import {name}")
    with pytest.raises(AttributeError, match="has no attribute 'IMPALOConfig'"):
        getattr(rlmodule_algos, "IMPALOConfig")  # noqa: B009
