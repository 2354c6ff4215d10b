"""A catalog's decisions, one by one, without any framework."""

from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog, ModelSettings, PPOCatalog, action_dist_config, encoder_config
from rlmodule_core import (
    ActorCriticEncoderConfig,
    DistributionConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    RLModuleConfig,
    UnsupportedSpaceError,
)
from rlmodule_core.model_config import output_dim

CARTPOLE: tuple[Any, Any] = spaces.Box(-np.inf, np.inf, (4,)), spaces.Discrete(2)
ARM: tuple[Any, Any] = spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (3,))


def parameters(config: Any) -> int:
    """Count weights and biases from the data alone: n inputs to m outputs are n m + m."""
    if isinstance(config, ActorCriticEncoderConfig):
        return parameters(config.base) * (1 if config.shared else 2)
    sizes = [config.input_dim, *config.hidden]
    if isinstance(config, MLPHeadConfig):
        means = config.output_dim // 2 if isinstance(config, FreeLogStdHeadConfig) else config.output_dim
        sizes.append(means)
    log_std = config.output_dim // 2 if isinstance(config, FreeLogStdHeadConfig) else 0
    return int(sum(n * m + m for n, m in pairwise(sizes)) + log_std)


def total(catalog: Catalog) -> int:
    parts = (
        catalog.get_actor_critic_encoder_config(),
        catalog.get_pi_head_config(),
        catalog.get_vf_head_config(),
    )
    return sum(parameters(part) for part in parts)


@pytest.mark.parametrize(("shared", "expected"), [(False, 134_915), (True, 67_843)])
def test_ppo_on_cartpole_has_the_parameter_count_that_is_known_by_hand(shared: bool, expected: int) -> None:
    encoder = (4 * 256 + 256) + (256 * 256 + 256)
    heads = (256 * 2 + 2) + (256 * 1 + 1)
    assert (encoder if shared else 2 * encoder) + heads == expected

    config = RLModuleConfig(
        observation_space=CARTPOLE[0],
        action_space=CARTPOLE[1],
        model_config_dict={"vf_share_layers": shared},
        catalog_class=PPOCatalog,
    )
    catalog = config.get_catalog()

    assert isinstance(catalog, PPOCatalog)
    assert total(catalog) == expected


def test_the_defaults_are_these_configs() -> None:
    catalog = Catalog(*CARTPOLE, {})
    encoder = MLPEncoderConfig(input_dim=4, hidden=(256, 256), activation="tanh")

    assert catalog.get_encoder_config() == encoder
    assert catalog.get_actor_critic_encoder_config() == ActorCriticEncoderConfig(base=encoder, shared=False)
    assert catalog.get_action_dist_config() == DistributionConfig(
        kind="Categorical", space=CARTPOLE[1], input_dim=2
    )
    assert catalog.get_pi_head_config() == MLPHeadConfig(
        input_dim=256, output_dim=2, hidden=(), activation="relu", gain=0.01
    )
    assert catalog.get_vf_head_config() == MLPHeadConfig(
        input_dim=256, output_dim=1, hidden=(), activation="relu", gain=1.0
    )


@pytest.mark.parametrize(
    ("key", "value", "method", "changed"),
    [
        ("fcnet_hiddens", [32], "get_encoder_config", {"hidden": (32,)}),
        ("fcnet_activation", "relu", "get_encoder_config", {"activation": "relu"}),
        ("vf_share_layers", True, "get_actor_critic_encoder_config", {"shared": True}),
        ("post_fcnet_hiddens", [8, 9], "get_pi_head_config", {"hidden": (8, 9)}),
        ("post_fcnet_hiddens", (8,), "get_vf_head_config", {"hidden": (8,)}),
        ("fcnet_layer_norm", True, "get_encoder_config", {"layer_norm": True}),
        ("encoder_latent_dim", 7, "get_encoder_config", {"hidden": (256, 256, 7)}),
        ("encoder_latent_dim", 7, "get_pi_head_config", {"input_dim": 7}),
        ("initializer", "xavier_normal", "get_encoder_config", {"initializer": "xavier_normal"}),
        ("initializer", "xavier_normal", "get_pi_head_config", {"initializer": "xavier_normal"}),
        ("initializer", "xavier_normal", "get_vf_head_config", {"initializer": "xavier_normal"}),
    ],
)
def test_each_setting_changes_the_config_that_it_names_and_nothing_else_of_it(
    key: str, value: Any, method: str, changed: dict[str, Any]
) -> None:
    default = getattr(Catalog(*ARM, {}), method)()
    actual = getattr(Catalog(*ARM, {key: value}), method)()
    assert actual == replace(default, **changed) != default


@pytest.mark.parametrize("method", ["get_pi_head_config", "get_vf_head_config"])
def test_the_activation_of_the_heads_is_that_of_their_hidden_layers(method: str) -> None:
    head = getattr(Catalog(*ARM, {"post_fcnet_hiddens": [8], "post_fcnet_activation": "elu"}), method)()
    assert (head.hidden, head.activation) == ((8,), "elu")


def test_a_free_log_std_is_for_the_policy_alone() -> None:
    assert type(Catalog(*ARM, {"free_log_std": True}).get_pi_head_config()) is FreeLogStdHeadConfig
    assert type(Catalog(*ARM, {}).get_pi_head_config()) is MLPHeadConfig
    assert type(Catalog(*ARM, {"free_log_std": True}).get_vf_head_config()) is MLPHeadConfig


def test_a_free_log_std_replaces_the_second_half_of_the_outputs_by_one_vector() -> None:
    separate = total(Catalog(*ARM, {"fcnet_hiddens": [8]}))
    free = total(Catalog(*ARM, {"fcnet_hiddens": [8], "free_log_std": True}))
    assert separate - free == (8 * 3 + 3) - 3


NESTED = spaces.Dict({"turn": spaces.Discrete(3), "arm": spaces.Tuple([ARM[1], spaces.MultiBinary(2)])})


@pytest.mark.parametrize(
    ("space", "kind", "input_dim"),
    [
        (spaces.Discrete(5, start=3), "Categorical", 5),
        (spaces.MultiDiscrete(np.array([[2, 3], [4, 5]])), "MultiCategorical", 14),
        (spaces.MultiBinary((2, 3)), "Bernoulli", 6),
        (spaces.Box(-1, 1, ()), "DiagGaussian", 2),
        (spaces.Box(-1, 1, (3,)), "DiagGaussian", 6),
        (spaces.Box(-1, 1, (2, 3)), "DiagGaussian", 12),
        (spaces.Box(-1, 1, (2, 3), dtype=np.float64), "DiagGaussian", 12),
        (NESTED, "MultiDistribution", 6 + 2 + 3),
    ],
)
def test_an_action_space_decides_the_distribution_and_its_number_of_inputs(
    space: Any, kind: str, input_dim: int
) -> None:
    config = action_dist_config(space, ModelSettings())
    assert (config.kind, config.space, config.input_dim) == (kind, space, input_dim)
    head = Catalog(ARM[0], space, {}).get_pi_head_config()
    assert isinstance(head, MLPHeadConfig)
    assert head.output_dim == input_dim


def test_squashed_actions_are_asked_for_by_a_setting_and_concern_every_box() -> None:
    settings = ModelSettings(squash_actions=True)

    assert action_dist_config(ARM[1], settings).kind == "SquashedGaussian"
    assert action_dist_config(CARTPOLE[1], settings).kind == "Categorical"
    arm, bits = action_dist_config(NESTED, settings).parts["arm"]
    assert (arm.kind, bits.kind) == ("SquashedGaussian", "Bernoulli")
    head = Catalog(*ARM, {"squash_actions": True, "free_log_std": True}).get_pi_head_config()
    assert type(head) is FreeLogStdHeadConfig


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (spaces.Box(-np.inf, 1, (2,)), r"action space: Box.* it has an infinite bound; bound it .* at False"),
        (spaces.Box(1, 1, (2,)), r"action space: Box.* each component's low must be below its high"),
        (spaces.Dict({"a": spaces.Tuple([spaces.Box(0, np.inf, (1,))])}), r"action space\.a\[0\]: Box"),
    ],
)
def test_a_box_that_cannot_be_squashed_is_refused_with_what_to_do(space: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Catalog(ARM[0], space, {"squash_actions": True}).get_pi_head_config()


def test_a_free_log_std_of_a_box_among_other_parts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"free_log_std needs an action space that is one Box, got Dict\("):
        Catalog(ARM[0], NESTED, {"free_log_std": True}).get_pi_head_config()


@pytest.mark.parametrize(
    ("space", "path"),
    [
        (spaces.Box(0, 5, (3,), dtype=np.int64), ""),
        (spaces.Box(-1, 1, (0,)), ""),
        (spaces.Text(3), ""),
        (spaces.Sequence(spaces.Discrete(2)), ""),
        (spaces.Graph(spaces.Discrete(2), None), ""),
        (spaces.OneOf([spaces.Discrete(2)]), ""),
        (spaces.Dict({}), ""),
        (spaces.Tuple([]), ""),
        (spaces.Dict({1: spaces.Discrete(2)}), ""),  # type: ignore[dict-item]
        (spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2), spaces.Text(3)])}), ".a[1]"),
        (None, ""),
    ],
)
def test_an_action_space_without_a_distribution_is_refused_with_what_to_do(space: Any, path: str) -> None:
    with pytest.raises(UnsupportedSpaceError) as caught:
        Catalog(ARM[0], space, {}).get_pi_head_config()
    part = space["a"][1] if path else space
    assert str(caught.value) == (
        f"action space{path}: {part} is not supported. Known are: Discrete, MultiDiscrete, MultiBinary, "
        "Box of floats, and Dict (with keys of type str) and Tuple of these; none may be empty. Override "
        "Catalog.get_action_dist_config and get_pi_head_config to bring your own."
    )


def test_an_encoder_without_layers_passes_the_observation_on() -> None:
    catalog = Catalog(*ARM, {"fcnet_hiddens": []})
    assert output_dim(encoder_config(ARM[0], ModelSettings(fcnet_hiddens=()))) == 5
    assert catalog.latent_dim == 5


def test_configs_are_frozen_data_that_knows_no_framework() -> None:
    config = Catalog(*CARTPOLE, {}).get_encoder_config()

    with pytest.raises(FrozenInstanceError):
        config.hidden = ()  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="rlmodule_nowhere, which is not there"):
        config.build("nowhere")
