"""Every setting of IMPALA and APPO does something, and what is none is refused with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rlmodule_algos import APPO, APPOConfig, ConfigError, Impala, ImpalaConfig
from rlmodule_algos.frameworks import Framework

SMALL: dict[str, Any] = {"train_batch_size": 64, "model": {"fcnet_hiddens": [8]}}
CONFIGS = {"impala": ImpalaConfig, "appo": APPOConfig}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def config(name: str, env: str = "CartPole-v1", **training: Any) -> Any:
    settings = CONFIGS[name]().environment(env).training(**{**SMALL, **training}).debugging(seed=0)
    return settings.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=8)


def learned(algorithm: Any) -> dict[str, float]:
    values: dict[str, float] = algorithm.train()["learners"]["default_policy"]
    return values


# --- every hyperparameter is live -----------------------------------------------------------------

BOTH: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"lr": 1e-2}),
    ({}, {"lr": [[0, 1e-2], [128, 1e-5]]}),
    ({}, {"gamma": 0.5}),
    ({}, {"lambda_": 0.5}),
    ({}, {"train_batch_size": 128}),
    ({}, {"vtrace_clip_rho_threshold": 0.5}),
    ({}, {"vtrace_clip_c_threshold": 0.5}),
    ({}, {"vtrace_clip_pg_rho_threshold": 0.5}),
    ({}, {"vf_loss_coeff": 0.1}),
    ({}, {"entropy_coeff": 0.1}),
    ({}, {"entropy_coeff": [[0, 0.1], [128, 0.0]]}),
    ({}, {"broadcast_interval": 2}),
    ({}, {"grad_clip": None}),
    ({}, {"grad_clip": 0.01}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "value"}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "norm"}),
    ({}, {"adam_epsilon": 1e-2}),
    ({}, {"model": {"fcnet_hiddens": [8], "fcnet_activation": "relu"}}),
]
APPO_ONLY: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"clip_param": 0.001}),
    ({}, {"target_worker_clipping": 1.0}),
    ({}, {"target_network_update_freq": 1}),
    ({"target_network_update_freq": 1}, {"tau": 0.1}),
    ({}, {"circular_buffer_num_batches": 1}),
    ({}, {"circular_buffer_iterations_per_batch": 1}),
    ({}, {"standardize_advantages": False}),
    ({}, {"use_kl_loss": True}),
    ({"use_kl_loss": True}, {"kl_coeff": 5.0}),
    ({"use_kl_loss": True}, {"kl_target": 1e-6}),
]
CASES = [*(("impala", *pair) for pair in BOTH), *(("appo", *pair) for pair in [*BOTH, *APPO_ONLY])]


@pytest.mark.parametrize(("name", "base", "changed"), CASES)
def test_changing_a_hyperparameter_changes_what_is_learned(
    name: str, base: dict[str, Any], changed: dict[str, Any]
) -> None:
    def results(**training: Any) -> list[dict[str, float]]:
        with config(name, **{"lr": 5e-3, **training}).build() as algorithm:
            return [learned(algorithm) for _ in range(4)]

    assert results(**base) != results(**{**base, **changed})


@pytest.mark.parametrize("name", CONFIGS)
def test_every_setting_is_among_those_that_were_changed(name: str) -> None:
    tried = {key for case, _, changed in CASES if case == name for key in changed}

    assert tried == set(CONFIGS[name].training_settings.__annotations__)


def test_scheduled_settings_follow_the_env_steps_sampled() -> None:
    schedules: dict[str, Any] = {"lr": [[0, 1e-2], [128, 1e-3]], "entropy_coeff": [[0, 0.1], [128, 0.0]]}
    with config("impala", "Pendulum-v1", **schedules).build() as algorithm:
        seen = [learned(algorithm) for _ in range(4)]

    for key, last in (("curr_lr", 1e-3), ("curr_entropy_coeff", 0.0)):
        values = [result[key] for result in seen]
        assert values[0] > values[1] == values[2] == values[3] == last


# --- settings that are refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("impala", {"num_epochs": 2}, "'num_epochs' is always 1 here"),
        ("impala", {"minibatch_size": 32}, "'train_batch_size'"),
        ("impala", {"vf_clip_param": 1.0}, "a setting of PPO"),
        ("impala", {"clip_param": 0.2}, "a setting of PPO and APPO"),
        ("impala", {"use_kl_loss": True}, "a setting of PPO and APPO"),
        ("impala", {"tau": 0.5}, "a setting of APPO"),
        ("impala", {"vtrace": False}, "gone: it is always on"),
        ("impala", {"vtrace_clip_rho_treshold": 1.0}, "did you mean 'vtrace_clip_rho_threshold'?"),
        ("appo", {"num_sgd_iter": 2}, "'circular_buffer_iterations_per_batch'"),
        ("appo", {"kl_stop": 0.1}, "a setting of PPO"),
        ("appo", {"target_worker_clipping": 0.5}, "expected a number >= 1, got 0.5"),
        ("appo", {"tau": 0.0}, "in (0, 1], got 0.0"),
        ("appo", {"circular_buffer_num_batches": 0}, "an integer >= 1"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_what_to_do(
    name: str, setting: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        CONFIGS[name]().training(**setting)

    assert said in str(caught.value)


@pytest.mark.parametrize("build", [Impala, APPO])
def test_the_names_of_the_algorithms_are_those_of_their_checkpoints(build: type[Impala | APPO]) -> None:
    assert build.name == build.__name__.lower()
