"""A setting that would change nothing is refused when the catalog is made, with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import BCCatalog, Catalog, PPOCatalog
from rlmodule_core import MLPEncoderConfig, MLPHeadConfig

VECTOR, CLASSES, ARM = spaces.Box(-1, 1, (3,)), spaces.Discrete(3), spaces.Box(-1, 1, (2,))
IMAGE = spaces.Box(0, 255, (9, 9, 3), np.uint8)
ALL = spaces.Dict({"vector": VECTOR, "parts": spaces.Tuple([IMAGE, spaces.MultiDiscrete([2, 9])])})

CASES: list[Any] = [
    ({"burn_in": 2}, VECTOR, CLASSES, "burn_in: there is no memory without use_lstm or use_gru"),
    ({"lstm_cell_size": 8}, VECTOR, CLASSES, "lstm_cell_size: there is no memory"),
    ({"lstm_forget_bias": 0.0}, VECTOR, CLASSES, "lstm_forget_bias: there is no memory"),
    ({"lstm_forget_bias": 0.0, "use_gru": True}, VECTOR, CLASSES, "lstm_forget_bias: a GRU"),
    ({"free_log_std": True}, VECTOR, CLASSES, r"free_log_std: only Box actions .* got Discrete\(3\)"),
    ({"squash_actions": True}, VECTOR, spaces.MultiBinary(2), "squash_actions: only Box actions"),
    ({"embedding_dim": 4}, IMAGE, CLASSES, r"embedding_dim: no part .* Discrete or MultiDiscrete, got Box"),
    ({"observation_clip": 5}, VECTOR, CLASSES, "observation_clip: only normalised observations"),
    ({"conv_activation": "elu"}, VECTOR, CLASSES, "conv_activation: no part of the observation is an image"),
    ({"conv_layer_norm": True}, CLASSES, CLASSES, "conv_layer_norm: no part of the observation is an image"),
    ({"conv_filters": [[8, 3, 1]]}, spaces.Dict({"a": VECTOR}), CLASSES, "conv_filters: no part"),
    (
        {"fcnet_layer_norm": True, "fcnet_hiddens": []},
        VECTOR,
        CLASSES,
        "fcnet_layer_norm: there are no dense",
    ),
    ({"post_fcnet_activation": "elu"}, VECTOR, CLASSES, "post_fcnet_activation: the heads have no hidden"),
]
EFFECTIVE: list[Any] = [
    ({"burn_in": 2, "lstm_cell_size": 8, "lstm_forget_bias": 0.0, "use_lstm": True}, VECTOR, CLASSES),
    ({"burn_in": 2, "lstm_cell_size": 8, "use_gru": True}, VECTOR, CLASSES),
    ({"free_log_std": True, "squash_actions": True}, VECTOR, ARM),
    ({"squash_actions": True}, VECTOR, spaces.Dict({"a": CLASSES, "b": spaces.Tuple([ARM])})),
    ({"embedding_dim": 4}, CLASSES, CLASSES),  # fewer classes than that: the rule is in force all the same
    ({"observation_clip": 5, "normalize_observations": True}, VECTOR, CLASSES),
    ({"conv_activation": "elu", "conv_layer_norm": True, "conv_filters": [[8, 3, 1]]}, IMAGE, CLASSES),
    ({"conv_activation": "elu", "embedding_dim": 4, "fcnet_hiddens": [8]}, ALL, CLASSES),
    ({"fcnet_hiddens": [8], "fcnet_activation": "relu"}, IMAGE, CLASSES),
    ({"fcnet_layer_norm": True, "fcnet_hiddens": [], "encoder_latent_dim": 4}, VECTOR, CLASSES),
    ({"post_fcnet_activation": "elu", "post_fcnet_hiddens": [8]}, VECTOR, CLASSES),
    ({"max_seq_len": 5, "initializer": "xavier_normal", "vf_share_layers": True}, VECTOR, CLASSES),
]


@pytest.mark.parametrize(("settings", "observations", "actions", "told"), CASES)
@pytest.mark.parametrize("catalog", [Catalog, PPOCatalog, BCCatalog])
def test_a_setting_without_effect_is_refused_with_the_reason(
    catalog: type[Catalog], settings: dict[str, Any], observations: Any, actions: Any, told: str
) -> None:
    with pytest.raises(ValueError, match=f"model_config_dict: without effect, leave out: {told}"):
        catalog(observations, actions, settings)


@pytest.mark.parametrize(("settings", "observations", "actions"), EFFECTIVE)
def test_a_setting_with_an_effect_is_accepted(
    settings: dict[str, Any], observations: Any, actions: Any
) -> None:
    assert Catalog(observations, actions, settings).get_encoder_config() is not None


@pytest.mark.parametrize(("settings", "observations", "actions", "told"), CASES)
def test_a_default_that_is_written_out_is_accepted(
    settings: dict[str, Any], observations: Any, actions: Any, told: str
) -> None:
    defaults = Catalog(observations, actions, {}).settings
    written = {name: getattr(defaults, name) for name in settings}
    assert Catalog(observations, actions, written).settings == defaults


def test_all_settings_without_effect_are_told_at_once() -> None:
    settings = {"burn_in": 2, "free_log_std": True, "conv_layer_norm": True, "observation_clip": 5}
    with pytest.raises(ValueError, match="without effect") as caught:
        Catalog(VECTOR, CLASSES, settings)
    for name in settings:
        assert f" {name}: " in str(caught.value)


def test_what_a_decision_of_ones_own_may_read_is_let_pass() -> None:
    class Mine(Catalog):
        def get_encoder_config(self) -> MLPEncoderConfig:
            return MLPEncoderConfig(input_dim=3, hidden=(self.settings.lstm_cell_size,))

        def get_pi_head_config(self) -> MLPHeadConfig:
            return MLPHeadConfig(input_dim=8, output_dim=3, activation=self.settings.post_fcnet_activation)

    settings = {"lstm_cell_size": 8, "conv_layer_norm": True, "free_log_std": True}
    mine = Mine(VECTOR, CLASSES, {**settings, "post_fcnet_activation": "elu"})
    assert mine.latent_dim == 8
    with pytest.raises(ValueError, match=r"leave out: squash_actions: [^;]*$"):
        Mine(VECTOR, CLASSES, {**settings, "squash_actions": True})
