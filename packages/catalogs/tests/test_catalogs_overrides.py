"""Each decision of a catalog replaced alone: the others go on from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog, PPOCatalog, default_conv_layers
from rlmodule_core import (
    ActorCriticEncoderConfig,
    Buildable,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    DistributionConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    RecurrentEncoderConfig,
)
from rlmodule_core.encoder_configs import LeafPath

CARTPOLE: tuple[Any, Any] = spaces.Box(-np.inf, np.inf, (4,)), spaces.Discrete(2)
ARM: tuple[Any, Any] = spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (3,))
IMAGE = spaces.Box(0, 255, (84, 84, 3), np.uint8)


@dataclass(frozen=True)
class OwnEncoder:
    """A config of a user's: anything with a `build`."""

    output_dim: Any = 12

    def build(self, framework: str) -> Any:
        return f"layers of {framework}"


class NamelessEncoder:
    def build(self, framework: str) -> Any:
        raise AssertionError("never built")


def test_an_encoder_of_ones_own_is_used_everywhere_when_one_method_is_overridden() -> None:
    class Mine(PPOCatalog):
        def get_encoder_config(self) -> OwnEncoder:
            return OwnEncoder()

    catalog = Mine(spaces.Text(5), CARTPOLE[1], {"vf_share_layers": True})  # never looked at

    encoder = catalog.get_actor_critic_encoder_config()
    assert encoder == ActorCriticEncoderConfig(base=OwnEncoder(), shared=True)
    assert catalog.get_pi_head_config() == MLPHeadConfig(
        input_dim=12, output_dim=2, activation="relu", gain=0.01
    )
    assert catalog.get_vf_head_config() == MLPHeadConfig(input_dim=12, output_dim=1, activation="relu")


def test_an_actor_critic_encoder_of_ones_own_decides_what_the_heads_get() -> None:
    class Mine(PPOCatalog):
        def get_actor_critic_encoder_config(self) -> OwnEncoder:
            return OwnEncoder(output_dim=31)

    assert Mine(*CARTPOLE, {}).latent_dim == 31


def test_a_distribution_of_ones_own_decides_the_size_of_the_policy_head() -> None:
    class Mine(PPOCatalog):
        def get_action_dist_config(self) -> DistributionConfig:
            return DistributionConfig(kind="Deterministic", space=ARM[1], input_dim=3)

    head = Mine(*ARM, {"free_log_std": True}).get_pi_head_config()

    assert type(head) is MLPHeadConfig
    assert head.output_dim == 3


@pytest.mark.parametrize("method", ["get_pi_head_config", "get_vf_head_config"])
def test_a_head_of_ones_own_leaves_the_other_decisions_alone(method: str) -> None:
    mine = type("Mine", (PPOCatalog,), {method: lambda self: "own"})
    catalog, default = mine(*CARTPOLE, {}), PPOCatalog(*CARTPOLE, {})

    for name in ("get_encoder_config", "get_pi_head_config", "get_vf_head_config", "get_action_dist_config"):
        expected = "own" if name == method else getattr(default, name)()
        assert getattr(catalog, name)() == expected


@pytest.mark.parametrize("encoder", [NamelessEncoder(), OwnEncoder(output_dim=None)])
def test_an_encoder_config_without_an_output_dim_is_told_to_add_it(encoder: Any) -> None:
    class Mine(Catalog):
        def get_encoder_config(self) -> Any:
            return encoder

    class Whole(Catalog):
        def get_actor_critic_encoder_config(self) -> Any:
            return encoder

    for catalog in (Mine(*CARTPOLE, {}), Whole(*CARTPOLE, {})):
        with pytest.raises(ValueError, match=r"Encoder\w* has no output_dim, .* add an int attribute"):
            catalog.get_vf_head_config()


class ReadingText(Catalog):
    """Brings an encoder for one kind of leaf."""

    def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Buildable:
        if isinstance(space, spaces.Text):
            return OwnEncoder()
        return super().get_leaf_encoder_config(path, space)


def test_an_encoder_for_one_kind_of_leaf_joins_the_others() -> None:
    space = spaces.Dict({"word": spaces.Text(5), "arm": ARM[0], "in": spaces.Tuple([spaces.Text(2)])})
    config: Any = ReadingText(space, ARM[1], {"use_gru": True}).get_encoder_config()

    assert isinstance(config, RecurrentEncoderConfig)
    assert config.base == ComplexEncoderConfig(
        leaves=(
            (("arm",), FlattenEncoderConfig(shape=(5,))),
            (("in", 0), OwnEncoder()),
            (("word",), OwnEncoder()),
        ),
        fusion=MLPEncoderConfig(input_dim=5 + 12 + 12, hidden=(256, 256)),
    )
    alone: Any = ReadingText(spaces.Text(5), ARM[1], {}).get_encoder_config()
    assert alone.leaves == (((), OwnEncoder()),)


def test_a_leaf_without_an_output_dim_is_told_to_add_it() -> None:
    class Mine(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Any:
            return NamelessEncoder()

    with pytest.raises(ValueError, match="NamelessEncoder has no output_dim"):
        Mine(spaces.Dict({"a": ARM[0]}), ARM[1], {}).get_encoder_config()


def test_a_leaf_of_ones_own_stands_for_a_vector_or_an_image_that_is_alone() -> None:
    class Mine(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Buildable:
            assert path == ()
            return OwnEncoder()

    assert Mine(IMAGE, ARM[1], {}).get_encoder_config() == OwnEncoder()
    assert Mine(IMAGE, ARM[1], {"conv_filters": [[8, 8, 4]]}).get_encoder_config() == OwnEncoder()
    assert Mine(*ARM, {"fcnet_hiddens": [8]}).get_encoder_config() == ComplexEncoderConfig(
        leaves=(((), OwnEncoder()),), fusion=MLPEncoderConfig(input_dim=12, hidden=(8,))
    )


def test_a_scale_of_ones_own_for_a_vector_is_kept() -> None:
    class Mine(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Buildable:
            return FlattenEncoderConfig(shape=space.shape, scale=0.1)

    config: Any = Mine(*ARM, {}).get_encoder_config()
    assert config.leaves == (((), FlattenEncoderConfig(shape=(5,), scale=0.1)),)


def test_filters_are_welcome_where_an_override_takes_something_for_an_image() -> None:
    class Mine(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Buildable:
            layers = self.settings.conv_filters or default_conv_layers((9, 9))
            return CNNEncoderConfig(image=(9, 9, 1), layers=layers)

    catalog = Mine(spaces.Box(0, 1, (9, 9)), ARM[1], {"conv_filters": [[8, 3, 2]], "fcnet_hiddens": []})
    config: Any = catalog.get_encoder_config()
    assert config.output_dim == catalog.latent_dim == 8 * 4 * 4


def test_an_encoder_with_both_an_output_dim_and_a_base_says_its_own_size() -> None:
    class Mine(PPOCatalog):
        def get_actor_critic_encoder_config(self) -> Buildable:
            return RecurrentEncoderConfig(base=MLPEncoderConfig(input_dim=4, hidden=(8,)), hidden_dim=24)

    assert Mine(*CARTPOLE, {}).latent_dim == 24


def test_memory_is_what_the_heads_get() -> None:
    for catalog in (
        Catalog(*CARTPOLE, {"use_lstm": True, "lstm_cell_size": 24}),
        Catalog(*CARTPOLE, {"use_gru": True, "lstm_cell_size": 24, "vf_share_layers": True}),
    ):
        head = catalog.get_vf_head_config()
        assert isinstance(head, MLPHeadConfig)
        assert head.input_dim == catalog.latent_dim == 24


def test_an_image_that_is_just_flattened_has_the_dense_layers_behind_it() -> None:
    class Flat(Catalog):
        def get_leaf_encoder_config(self, path: LeafPath, space: Any) -> Buildable:
            return FlattenEncoderConfig(shape=space.shape)

    encoder = Flat(IMAGE, ARM[1], {"fcnet_hiddens": [31]}).get_encoder_config()

    assert isinstance(encoder, ComplexEncoderConfig)
    assert encoder.output_dim == 31
    with pytest.raises(ValueError, match="conv_filters: no part of the observation is encoded as an image"):
        Flat(IMAGE, ARM[1], {"conv_filters": [[8, 3, 1]]}).get_encoder_config()
