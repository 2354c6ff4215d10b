"""Settings are checked where they are given: names, types and ranges, all problems at once."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlmodule_algos import ConfigError, ImpalaConfig, PPOConfig
from rlmodule_algos.settings import declared_settings, mismatch
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

Setter = Callable[..., PPOConfig]

# setter, a right setting and its value, a typo of it
GROUPS: list[tuple[str, str, Any, str]] = [
    ("environment", "env_config", {"size": 3}, "env_confg"),
    ("rl_module", "rl_module_spec", SingleAgentRLModuleSpec(), "rl_modul_spec"),
    ("training", "clip_param", 0.1, "clip_parm"),
    ("training", "lr", 1e-3, "lrr"),
    ("env_runners", "num_envs_per_env_runner", 3, "num_envs_per_env_runer"),
    ("rollouts", "num_envs_per_env_runner", 3, "num_envs_per_env_runer"),
    ("learners", "device", "cuda", "devise"),
    ("evaluation", "evaluation_interval", 5, "evaluation_intervall"),
    ("evaluation", "evaluation_num_env_runners", 0, "evaluation_num_env_runner"),
    ("checkpointing", "checkpoint_interval", 5, "checkpoint_intervall"),
    ("checkpointing", "checkpoint_dir", "runs", "checkpoint_dri"),
    ("env_runners", "num_env_runners", 2, "num_env_runner"),
    ("fault_tolerance", "sample_timeout_s", 5.0, "sample_timeout"),
    ("debugging", "seed", 3, "sed"),
]


def settings_of(config: PPOConfig) -> str:
    return repr(config.to_dict())


def refusal(call: Callable[[PPOConfig], object]) -> str:
    """Make a call that must be refused, and return what it says; nothing may have changed."""
    config = PPOConfig()
    with pytest.raises(ConfigError) as caught:
        call(config)
    assert settings_of(config) == settings_of(PPOConfig())
    return str(caught.value)


# --- setters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "name", "value", "typo"), GROUPS)
def test_a_setter_changes_the_config_and_returns_it(group: str, name: str, value: Any, typo: str) -> None:
    config = PPOConfig()
    assert getattr(config, group)(**{name: value}) is config
    assert getattr(config, name) == value
    assert getattr(config, group)() is config
    assert getattr(config, name) == value


def test_environment_and_framework_return_the_config_too() -> None:
    config = PPOConfig()
    assert config.environment("CartPole-v1") is config.framework("torch") is config
    assert config.environment(env_config={}).env == "CartPole-v1"


@pytest.mark.parametrize(("group", "name", "value", "typo"), GROUPS)
def test_a_typo_is_refused_with_the_nearest_name(group: str, name: str, value: Any, typo: str) -> None:
    where = "env_runners" if group == "rollouts" else group
    text = refusal(lambda config: getattr(config, group)(**{name: value, typo: value}))
    assert text == f"{where}: unknown setting {typo!r}, did you mean {name!r}?"


def test_a_typo_in_an_assignment_is_refused_as_well() -> None:
    text = refusal(lambda config: setattr(config, "clip_parm", 0.1))
    assert text == "PPOConfig: unknown setting 'clip_parm', did you mean 'clip_param'?"
    assert "expected a number > 0" in refusal(lambda config: setattr(config, "lr", -1.0))
    config = PPOConfig()
    config.lr = 0.5
    assert config.lr == 0.5


def test_all_problems_stand_in_one_error_and_nothing_is_changed() -> None:
    text = refusal(lambda config: config.training(lr=-1.0, gamma=0.5, lamda_=1.0, num_epochs=0))  # type: ignore[call-arg]
    assert text.startswith("training: ")
    assert len(text.split("; ")) == 3
    for name in ("lr: ", "'lamda_'", "num_epochs: "):
        assert name in text
    made: Any = object()
    both = refusal(lambda config: config.environment(made, env_confg={}))  # type: ignore[call-arg]
    assert "pass a function that makes it" in both
    assert "'env_config'" in both


@pytest.mark.parametrize(
    ("group", "setting", "said"),
    [
        ("training", "num_sgd_iter", "'num_epochs'"),
        ("training", "sgd_minibatch_size", "'minibatch_size'"),
        ("training", "lambda", "'lambda_'"),
        ("training", "use_critic", "gone"),
        ("training", "custom_model", "rl_module_spec"),
        ("env_runners", "num_rollout_workers", "'num_env_runners'"),
        ("rollouts", "num_workers", "'num_env_runners'"),
        ("rollouts", "num_envs_per_worker", "'num_envs_per_env_runner'"),
        ("evaluation", "evaluation_num_workers", "'evaluation_num_env_runners'"),
        ("checkpointing", "checkpoint_freq", "'checkpoint_interval'"),
        ("reporting", "metrics_num_episodes_for_smoothing", "100, and not a setting"),
    ],
)
def test_a_name_of_another_version_is_refused_with_the_name_here(group: str, setting: str, said: str) -> None:
    text = refusal(lambda config: getattr(config, group)(**{setting: 1}))
    assert f"{setting!r} is {said}" in text or said in text
    if said.startswith("'"):  # the advice itself is taken
        name = said.strip("'")
        getattr(PPOConfig(), group)(**{name: getattr(PPOConfig(), name)})


@pytest.mark.parametrize(
    ("group", "setting", "home"),
    [("training", "seed", "debugging"), ("debugging", "lr", "training"), ("rollouts", "device", "learners")],
)
def test_a_setting_of_another_group_is_refused_with_the_name_of_its_own(
    group: str, setting: str, home: str
) -> None:
    text = refusal(lambda config: getattr(config, group)(**{setting: 1}))
    assert f"{setting!r} is a setting of .{home}() here" in text


def test_ppo_refuses_requests_in_flight_because_it_waits_for_its_env_runners() -> None:
    said = (
        "max_requests_in_flight_per_env_runner: a setting of IMPALA and APPO, which sample while they learn"
    )
    config = PPOConfig()

    with pytest.raises(ConfigError, match=f"{said}; leave it out"):
        config.env_runners(max_requests_in_flight_per_env_runner=3)
    with pytest.raises(ConfigError, match=said):
        config.max_requests_in_flight_per_env_runner = 3
    assert ImpalaConfig().env_runners(max_requests_in_flight_per_env_runner=3)
    assert config.copy().freeze().copy().max_requests_in_flight_per_env_runner == 2


def test_settings_are_given_by_keyword() -> None:
    config: Any = PPOConfig()
    for call in (config.training, config.env_runners, config.learners, config.rl_module, config.debugging):
        with pytest.raises(TypeError, match="positional"):
            call({"lr": 1e-3})


# --- types and ranges -------------------------------------------------------------------------

BOUNDS: list[tuple[str, list[Any], list[Any]]] = [
    (
        "lr",
        [1, 1e-9, np.float32(0.5), np.int64(1)],
        [0, -1e-3, True, "1e-3", None, [], float("nan"), float("inf")],
    ),
    ("gamma", [0, 1, 0.5, np.float64(0.5)], [1.01, -0.1, True, None]),
    ("clip_param", [1e-6, 1], [0, 0.0, 1.1]),
    (
        "num_epochs",
        [1, np.int64(3), np.int8(3)],
        [0, -1, 1.0, True, np.bool_(True), np.float64(2.0), "3", None],
    ),
    ("grad_clip", [None, 0.5, 3], [0, -1, "none", False]),
    ("grad_clip_by", ["value", "norm", "global_norm"], ["Norm", None, 0]),
    ("vf_clip_mode", ["none", "error", "value"], [None, "no"]),
    ("use_kl_loss", [True, False, np.bool_(True)], [1, 0, None, "True"]),
    ("entropy_coeff", [0, 0.01], [-0.01, True]),
    ("model", [{}, {"fcnet_hiddens": [4]}], [None, [("fcnet_hiddens", [4])], "mlp"]),
]


@pytest.mark.parametrize(("name", "good", "bad"), BOUNDS)
def test_values_must_have_the_type_and_lie_in_the_range(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        kept = getattr(PPOConfig().training(**{name: value}), name)
        assert kept == value
        assert not isinstance(kept, np.generic)  # NumPy's numbers are kept as Python's
    for value in bad:
        text = refusal(lambda config, value=value: config.training(**{name: value}))  # type: ignore[misc]
        assert text.startswith(f"training: {name}: expected "), text


@pytest.mark.parametrize(
    ("group", "settings"),
    [
        ("debugging", {"seed": -1}),
        ("debugging", {"seed": 2**32}),
        ("debugging", {"seed": 1.0}),
        ("evaluation", {"evaluation_duration": 0}),
        ("evaluation", {"evaluation_interval": 0}),
        ("env_runners", {"num_envs_per_env_runner": 0}),
        ("env_runners", {"num_env_runners": -1}),
        ("fault_tolerance", {"max_num_env_runner_restarts": -1}),
        ("fault_tolerance", {"restart_delay_s": 0.0}),
        ("learners", {"num_learners": -1}),
        ("learners", {"device": 0}),
        ("rl_module", {"rl_module_spec": SingleAgentRLModuleSpec}),
        ("environment", {"env_config": [("size", 3)]}),
    ],
)
def test_values_of_the_other_groups_are_checked_as_well(group: str, settings: dict[str, Any]) -> None:
    (name,) = settings
    assert f"{name}: expected " in refusal(lambda config: getattr(config, group)(**settings))


@pytest.mark.parametrize(
    "schedule",
    [[[0, 1e-3]], [[0, 1e-3], [1000, 0.0]], ((0, 1), (10, 2.5)), [[0, np.float32(0.5)], [np.int64(9), 0.25]]],
)
def test_a_schedule_is_pairs_of_growing_steps_from_zero_on(schedule: Any) -> None:
    config = PPOConfig().training(lr=schedule, entropy_coeff=schedule)
    assert [list(point) for point in typing.cast(Any, config.lr)] == [list(point) for point in schedule]


@pytest.mark.parametrize(
    "schedule",
    [
        [[1, 1e-3]],  # not from 0 on
        [[0, 1e-3], [0, 1e-4]],  # not growing
        [[0, 1.0], [20, 1.0], [10, 1.0]],
        [0, 1e-3],  # not nested
        [[[0, 1e-3]]],  # nested too deep
        [[0, 1e-3, 5]],
        [[0, -1e-3]],  # a rate below 0
        [[0, 1e-3], [10, float("nan")]],
        [[0, "1e-3"]],
        [[False, 1e-3]],
        {0: 1e-3},
        np.array([[0.0, 1e-3]]),
    ],
)
def test_another_form_of_schedule_is_refused_with_the_right_one(schedule: Any) -> None:
    text = refusal(lambda config: config.training(lr=schedule))
    assert "or a schedule [[0, value], [env_step, value], ...] with growing env steps" in text


def test_a_schedule_is_refused_where_the_setting_has_none() -> None:
    assert "gamma: expected" in refusal(lambda config: config.training(gamma=[[0, 0.9]]))  # type: ignore[arg-type]


# --- the flag and the framework ---------------------------------------------------------------


def test_the_module_api_is_always_enabled() -> None:
    config = PPOConfig()
    assert config.rl_module(_enable_rl_module_api=True) is config
    assert "no other stack" in refusal(lambda config: config.rl_module(_enable_rl_module_api=False))
    for value in (0, "yes", None):
        text = refusal(lambda config, value=value: config.rl_module(_enable_rl_module_api=value))  # type: ignore[misc]
        assert "expected True or False" in text


@pytest.mark.parametrize("spec", [SingleAgentRLModuleSpec(), MultiAgentRLModuleSpec(), None])
def test_a_spec_is_kept_as_it_was_given(spec: Any) -> None:
    assert PPOConfig().rl_module(rl_module_spec=spec).rl_module_spec is spec


def test_tf2_means_tf() -> None:
    assert PPOConfig().framework("tf2").framework_name == PPOConfig().framework("tf").framework_name == "tf"
    assert PPOConfig().framework("tf").framework("torch").framework_name == "torch"


@pytest.mark.parametrize("framework", ["jax", "Torch", None, ["torch"], {}])
def test_an_unknown_framework_is_refused_with_the_known_ones(framework: Any) -> None:
    assert "expected 'torch' or 'tf'" in refusal(lambda config: config.framework(framework))


# --- declarations and defaults ----------------------------------------------------------------


def test_every_declared_setting_has_a_default_that_fits_it_and_the_other_way_round() -> None:
    defaults = PPOConfig().to_dict()
    declared: dict[str, Any] = {}
    for group in PPOConfig._groups().values():
        own = declared_settings(group)
        assert not own.keys() & declared.keys(), "a setting belongs to one group"
        declared.update(own)
    flags = {name for name in declared if name.startswith("_")}
    assert set(declared) - flags == set(defaults) - {"env", "framework_name"}
    assert flags == {"_enable_rl_module_api"}
    for name in set(declared) - flags:
        assert mismatch(defaults[name], declared[name]) is None, name


def test_every_setter_takes_exactly_the_group_that_is_declared_for_it() -> None:
    for group, declared in PPOConfig._groups().items():
        hints = typing.get_type_hints(getattr(PPOConfig, group), include_extras=True)
        assert typing.get_args(hints["settings"]) == (declared,), group
        for name in declared_settings(declared):
            text = refusal(lambda config, group=group, name=name: getattr(config, group)(**{name: object()}))  # type: ignore[misc]
            assert f"{name}: {PPOConfig.without_effect.get(name, 'expected')}" in text


@pytest.mark.parametrize(
    ("elsewhere", "here"), [("learning_rate", "lr"), ("n_epochs", "num_epochs"), ("gae_lambda", "lambda_")]
)
def test_a_setting_as_another_library_names_it_is_answered_with_its_name_here(
    elsewhere: str, here: str
) -> None:
    given: dict[str, Any] = {elsewhere: 0.1}
    with pytest.raises(ConfigError, match=f"'{elsewhere}' is '{here}' here"):
        PPOConfig().training(**given)


def test_reporting_takes_nothing_and_says_so() -> None:
    config = PPOConfig()
    assert config.reporting() is config
    assert "unknown setting 'zzz', known are none" in refusal(lambda config: config.reporting(zzz=1))  # type: ignore[call-arg]


def test_env_runners_of_evaluation_are_refused_in_words_until_there_are_some() -> None:
    text = refusal(lambda config: config.evaluation(evaluation_num_env_runners=2))
    assert "evaluation_num_env_runners=2: env runners for evaluation are not available yet" in text
    config = PPOConfig().environment("CartPole-v1")
    config.evaluation_num_env_runners = 2
    with pytest.raises(ConfigError, match="not available yet; leave it at 0"):
        config.build()


def test_a_setting_like_no_other_is_answered_with_all_there_are() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'zzz', known are adam_epsilon, "):
        PPOConfig().training(zzz=1)  # type: ignore[call-arg]
