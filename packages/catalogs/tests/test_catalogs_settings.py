"""`model_config_dict`: a typo never passes, and every mistake is told at once."""

from typing import Any

import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog, ModelSettings, model_settings
from rlmodule_core.model_config import ACTIVATION_NAMES


def test_the_defaults_are_those_that_are_documented() -> None:
    assert model_settings({}) == ModelSettings()
    assert ModelSettings() == ModelSettings(
        fcnet_hiddens=(256, 256),
        fcnet_activation="tanh",
        post_fcnet_hiddens=(),
        post_fcnet_activation="relu",
        free_log_std=False,
        squash_actions=False,
        vf_share_layers=False,
    )


def test_lists_and_tuples_of_sizes_mean_the_same() -> None:
    assert model_settings({"fcnet_hiddens": [1, 2]}) == model_settings({"fcnet_hiddens": (1, 2)})


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_is_accepted(name: str) -> None:
    assert model_settings({"fcnet_activation": name}).fcnet_activation == name


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("fcnet_hidden", "fcnet_hiddens"),
        ("fcnet_activatoin", "fcnet_activation"),
        ("post_fcnet_hidens", "post_fcnet_hiddens"),
        ("free_logstd", "free_log_std"),
        ("vf_share_layer", "vf_share_layers"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_name(typo: str, nearest: str) -> None:
    with pytest.raises(
        ValueError, match=f"model_config_dict: unknown key '{typo}', did you mean '{nearest}'"
    ):
        Catalog(spaces.Discrete(2), spaces.Discrete(2), {typo: 1})


@pytest.mark.parametrize("key", [1, None, "", "\n"])
def test_a_key_of_any_kind_is_answered_in_words(key: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown key .*, known are fcnet_hiddens, "):
        model_settings({key: 1})


def test_a_custom_model_is_pointed_to_rl_module_spec() -> None:
    with pytest.raises(
        ValueError, match="'custom_model' is not a setting: pass your module as rl_module_spec"
    ):
        model_settings({"custom_model": "mine"})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("fcnet_hiddens", [64, 0], "a list of positive integers"),
        ("fcnet_hiddens", [64, 1.5], "a list of positive integers"),
        ("fcnet_hiddens", [True], "a list of positive integers"),
        ("fcnet_hiddens", 64, "a list of positive integers"),
        ("post_fcnet_hiddens", "64", "a list of positive integers"),
        ("post_fcnet_hiddens", None, "a list of positive integers"),
        ("fcnet_activation", "swish", "one of elu, gelu"),
        ("post_fcnet_activation", ["relu"], "one of elu, gelu"),
        ("free_log_std", 1, "True or False"),
        ("squash_actions", None, "True or False"),
        ("vf_share_layers", "yes", "True or False"),
    ],
)
def test_a_bad_value_is_an_error_with_what_was_expected(key: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"model_config_dict: {key}: expected {expected}"):
        model_settings({key: value})


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="model_config_dict") as caught:
        model_settings(
            {
                "fcnet_hiddens": 3,
                "fcnet_activation": "none",
                "post_fcnet_hiddens": [-1],
                "free_log_std": "no",
                "hiddens": [1],
                "custom_model": "x",
            }
        )

    message = str(caught.value)
    for key in ("fcnet_hiddens", "fcnet_activation", "post_fcnet_hiddens", "free_log_std", "hiddens"):
        assert key in message
    assert "custom_model" in message
    assert message.count(";") == 5


def test_settings_made_directly_are_checked_alike() -> None:
    with pytest.raises(ValueError, match=r"fcnet_hiddens.*; vf_share_layers"):
        ModelSettings(fcnet_hiddens=(0,), vf_share_layers=None)  # type: ignore[arg-type]
