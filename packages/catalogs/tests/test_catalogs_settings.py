"""`model_config_dict`: a typo never passes, and every mistake is told at once."""

import re
from dataclasses import fields
from typing import Any

import pytest
from gymnasium import spaces, wrappers

from rlmodule_catalogs import Catalog, ModelSettings, model_settings
from rlmodule_catalogs.rllib_names import ANSWERS
from rlmodule_core import ConvLayer
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_core.model_config import ACTIVATION_NAMES


def test_the_defaults_are_those_that_are_documented() -> None:
    assert model_settings({}) == ModelSettings()
    assert ModelSettings() == ModelSettings(
        fcnet_hiddens=(256, 256),
        fcnet_activation="tanh",
        fcnet_layer_norm=False,
        conv_filters=None,
        conv_activation="relu",
        conv_layer_norm=False,
        post_fcnet_hiddens=(),
        post_fcnet_activation="relu",
        encoder_latent_dim=None,
        free_log_std=False,
        squash_actions=False,
        vf_share_layers=False,
        use_lstm=False,
        use_gru=False,
        lstm_cell_size=256,
        lstm_forget_bias=1.0,
        max_seq_len=20,
        burn_in=0,
        embedding_dim=None,
        initializer="orthogonal",
        normalize_observations=False,
        observation_clip=10.0,
    )


def test_lists_and_tuples_of_sizes_mean_the_same() -> None:
    assert model_settings({"fcnet_hiddens": [1, 2]}) == model_settings({"fcnet_hiddens": (1, 2)})
    filters = model_settings({"conv_filters": [[16, [4, 5], 2]]})
    assert filters == model_settings({"conv_filters": ((16, (4, 5), 2),)})


def test_filters_become_layers_that_can_be_passed_on() -> None:
    settings = model_settings({"conv_filters": [[16, 4, 2], [32, 3, 1]]})
    layers = (
        ConvLayer(channels=16, kernel=(4, 4), stride=(2, 2), padding="same"),
        ConvLayer(channels=32, kernel=(3, 3), stride=(1, 1), padding="valid"),
    )

    assert settings.conv_filters == layers
    assert ModelSettings(conv_filters=layers) == settings == model_settings({"conv_filters": layers})


def test_every_setting_has_a_rule() -> None:
    names = [field.name for field in fields(ModelSettings)]
    wrong = dict.fromkeys(names, object())
    with pytest.raises(ValueError, match="model_config_dict") as caught:
        model_settings(wrong)
    told = re.findall(r"(?:^model_config_dict|;|:) ?(\w+): expected ", str(caught.value))
    assert sorted(told) == sorted(names)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
@pytest.mark.parametrize("key", ["fcnet_activation", "conv_activation", "post_fcnet_activation"])
def test_every_activation_is_accepted(key: str, name: str) -> None:
    assert getattr(model_settings({key: name}), key) == name


@pytest.mark.parametrize("name", INITIALIZER_NAMES)
def test_every_initializer_is_accepted(name: str) -> None:
    assert model_settings({"initializer": name}).initializer == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("encoder_latent_dim", 1),
        ("encoder_latent_dim", None),
        ("embedding_dim", 1),
        ("embedding_dim", None),
        ("lstm_cell_size", 1),
        ("lstm_forget_bias", -1),
        ("lstm_forget_bias", 0.5),
        ("max_seq_len", 1),
        ("burn_in", 19),
        ("observation_clip", 1),
        ("observation_clip", 0.1),
        ("conv_filters", None),
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_kept(key: str, value: Any) -> None:
    assert getattr(model_settings({key: value}), key) == value


@pytest.mark.parametrize(
    ("typo", "nearest"),
    [
        ("fcnet_hidden", "fcnet_hiddens"),
        ("fcnet_activatoin", "fcnet_activation"),
        ("post_fcnet_hidens", "post_fcnet_hiddens"),
        ("free_logstd", "free_log_std"),
        ("vf_share_layer", "vf_share_layers"),
        ("conv_filter", "conv_filters"),
        ("lstm_cell", "lstm_cell_size"),
        ("max_seq_length", "max_seq_len"),
        ("normalize_observation", "normalize_observations"),
        ("embeding_dim", "embedding_dim"),
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
        ("fcnet_layer_norm", 0, "True or False"),
        ("conv_layer_norm", "layer", "True or False"),
        ("conv_activation", None, "one of elu, gelu"),
        ("encoder_latent_dim", 0, "a positive integer or None"),
        ("encoder_latent_dim", True, "a positive integer or None"),
        ("use_lstm", 1, "True or False"),
        ("use_gru", None, "True or False"),
        ("lstm_cell_size", 0, "a positive integer"),
        ("lstm_cell_size", None, "a positive integer"),
        ("lstm_forget_bias", float("nan"), "a finite number"),
        ("lstm_forget_bias", True, "a finite number"),
        ("max_seq_len", 0, "a positive integer"),
        ("burn_in", -1, "an integer, 0 or more"),
        ("burn_in", 1.0, "an integer, 0 or more"),
        ("embedding_dim", 8.0, "a positive integer or None"),
        ("initializer", "glorot", "one of orthogonal, xavier_uniform"),
        ("normalize_observations", "yes", "True or False"),
        ("observation_clip", 0, "a positive number"),
        ("observation_clip", float("inf"), "a positive number"),
        ("conv_filters", [], "a list of at least one filter, or None"),
        ("conv_filters", 16, "a list of at least one filter, or None"),
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


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"use_lstm": True, "use_gru": True}, "use_lstm and use_gru: one encoder has one kind of memory"),
        ({"burn_in": 20}, "burn_in: 20 steps of sequences of max_seq_len=20 leave none to learn from"),
        ({"burn_in": 9, "max_seq_len": 8}, "burn_in: 9 steps of sequences of max_seq_len=8 leave none"),
        ({"max_seq_len": 0, "burn_in": 20, "hiddens": 1}, r"hiddens.*; max_seq_len: expected [^;]*$"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"model_config_dict: .*{told}"):
        model_settings(given)
    if "hiddens" not in given:
        with pytest.raises(ValueError, match=f"model_config_dict: {told}"):
            ModelSettings(**given)


def test_a_contradiction_is_told_beside_the_other_mistakes() -> None:
    with pytest.raises(
        ValueError, match=r"hiddens.*; free_log_std.*; use_lstm and use_gru.*; burn_in: 30 steps"
    ):
        model_settings({"hiddens": 1, "free_log_std": 1, "use_lstm": True, "use_gru": True, "burn_in": 30})


RLLIB_NAMES = {
    "custom_model": "rl_module_spec",
    "custom_model_config": "rl_module_spec",
    "custom_action_dist": "Catalog.get_action_dist_config",
    "custom_preprocessor": "gymnasium.wrappers.TransformObservation",
    "framestack": "gymnasium.wrappers.FrameStackObservation",
    "num_framestacks": "gymnasium.wrappers.FrameStackObservation",
    "dim": "ResizeObservation",
    "grayscale": "AtariPreprocessing",
    "zero_mean": "AtariPreprocessing",
    "use_attention": "Catalog.get_encoder_config",
    "attention_num_heads": "Catalog.get_encoder_config",
    "lstm_use_prev_action": "with a wrapper",
    "lstm_use_prev_reward": "with a wrapper",
    "lstm_use_prev_action_reward": "with a wrapper",
    "no_final_linear": "Catalog.get_pi_head_config",
    "head_fcnet_hiddens": "write post_fcnet_hiddens",
    "head_fcnet_activation": "write post_fcnet_activation",
    "log_std_clip_param": "leave it out",
    "_use_default_native_models": "leave it out",
    "_disable_preprocessor_api": "leave it out",
    "_disable_action_flattening": "leave it out",
    "always_check_shapes": "every forward is checked",
    "_time_major": "leave it out",
    "time_major": "leave it out",
    "fcnet_weights_initializer": "initializer",
    "conv_bias_initializer_config": "initializer",
    "lstm_kernel_initializer_kwargs": "initializer",
}


@pytest.mark.parametrize("key", RLLIB_NAMES)
def test_a_name_of_rllibs_that_is_not_ours_is_answered_with_what_to_do(key: str) -> None:
    with pytest.raises(ValueError, match=f"model_config_dict: '{key}' is not a setting: ") as caught:
        model_settings({key: None})
    assert RLLIB_NAMES[key] in str(caught.value)
    assert "did you mean" not in str(caught.value)


def test_no_answer_is_missing_from_the_list_above_or_stands_for_a_setting_of_ours() -> None:
    assert ANSWERS.keys() <= RLLIB_NAMES.keys()
    assert not ANSWERS.keys() & {field.name for field in fields(ModelSettings)}


@pytest.mark.parametrize("name", re.findall(r"gymnasium\.wrappers\.(\w+)", " ".join(ANSWERS.values())))
def test_a_wrapper_that_is_recommended_exists(name: str) -> None:
    assert hasattr(wrappers, name)


@pytest.mark.parametrize("layers", [((16, 4, 2),), (ConvLayer(channels=8, kernel=(3, 3)), (16, 4, 2))])
def test_settings_made_directly_take_layers_not_lists(layers: Any) -> None:
    with pytest.raises(ValueError, match="conv_filters: expected ConvLayers"):
        ModelSettings(conv_filters=layers)


def test_layers_passed_directly_were_checked_when_they_were_made() -> None:
    with pytest.raises(ValueError, match="ConvLayer: channels: expected a positive integer, got 0"):
        ModelSettings(conv_filters=(ConvLayer(channels=0, kernel=(3, 3)),))


def test_settings_made_directly_are_checked_alike() -> None:
    with pytest.raises(ValueError, match=r"fcnet_hiddens.*; vf_share_layers"):
        ModelSettings(fcnet_hiddens=(0,), vf_share_layers=None)  # type: ignore[arg-type]
