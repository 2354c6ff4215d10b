"""What a mistake in `model_config_dict` is told: the name that was meant, in any capitals."""

import re
from typing import Any

import pytest
from gymnasium import spaces

from rlmodule_catalogs import PPOCatalog, model_settings


@pytest.mark.parametrize("settings", [None, 3, "fcnet_hiddens", [("fcnet_hiddens", [8])]])
def test_settings_that_are_no_dict_are_refused_in_words(settings: Any) -> None:
    expected = re.escape(
        f"model_config_dict: expected a dict of settings, {{}} for the defaults, got {settings!r}"
    )
    with pytest.raises(ValueError, match=expected):
        PPOCatalog(spaces.Discrete(2), spaces.Discrete(2), settings)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("use_LSTM", "use_lstm"), ("USE_GRU", "use_gru"), ("Fcnet_Hidden", "fcnet_hiddens")],
)
def test_a_key_in_other_capitals_is_told_the_name_it_reads_like(key: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"unknown key '{key}', did you mean '{nearest}'"):
        model_settings({key: True})


def test_a_typo_of_one_of_rllibs_names_finds_the_answer_of_that_name() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown key 'custom_modell', did you mean 'custom_model'\? 'custom_model' is not a setting: "
        "pass your module as rl_module_spec",
    ):
        model_settings({"custom_modell": "mine"})


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [
        ("fcnet_activation", "Tanh", "tanh"),
        ("conv_activation", "rellu", "relu"),
        ("initializer", "Ortho", None),
    ],
)
def test_a_value_that_is_a_typo_of_a_name_is_told_the_nearest(
    key: str, value: str, nearest: str | None
) -> None:
    with pytest.raises(ValueError, match=f"{key}: expected one of .*, got '{value}'") as caught:
        model_settings({key: value})
    assert (f"did you mean {nearest!r}?" in str(caught.value)) == (nearest is not None)
