"""The catalogs of the algorithms: what each decides, and what cloning leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from gymnasium import spaces

from rlmodule_catalogs import APPOCatalog, BCCatalog, Catalog, ImpalaCatalog, PPOCatalog
from rlmodule_core import Buildable, MLPEncoderConfig, MLPHeadConfig, RLModuleConfig
from rlmodule_core.catalog_protocol import CatalogProtocol

SPACES: tuple[Any, Any] = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
SETTINGS = {"fcnet_hiddens": [8], "use_gru": True, "vf_share_layers": True}
DECISIONS = (
    "get_encoder_config",
    "get_actor_critic_encoder_config",
    "get_pi_head_config",
    "get_vf_head_config",
    "get_action_dist_config",
    "get_normalizer_config",
)


@pytest.mark.parametrize("catalog_class", [PPOCatalog, ImpalaCatalog, APPOCatalog])
def test_an_actor_critic_algorithm_decides_as_the_base_does(catalog_class: type[Catalog]) -> None:
    catalog, base = catalog_class(*SPACES, SETTINGS), Catalog(*SPACES, SETTINGS)
    for name in DECISIONS:
        assert getattr(catalog, name)() == getattr(base, name)()


def encoder_of(config: RLModuleConfig) -> Buildable:
    catalog = config.get_catalog()
    assert isinstance(catalog, Catalog)
    return catalog.get_encoder_config()


@pytest.mark.parametrize("catalog_class", [PPOCatalog, ImpalaCatalog, APPOCatalog, BCCatalog])
def test_every_catalog_is_found_through_a_modules_config_and_its_file(catalog_class: Any) -> None:
    config = RLModuleConfig(
        observation_space=SPACES[0],
        action_space=SPACES[1],
        model_config_dict={"conv_filters": None, "fcnet_hiddens": [8]},
        catalog_class=catalog_class,
    )
    again = RLModuleConfig.from_dict(config.to_dict())

    assert type(again.get_catalog()) is catalog_class
    assert encoder_of(again) == encoder_of(config)
    assert catalog_class.__doc__


def test_filters_survive_the_way_to_a_file_and_back() -> None:
    config = RLModuleConfig(
        observation_space=spaces.Box(0, 1, (20, 20, 3)),
        action_space=SPACES[1],
        model_config_dict={"conv_filters": [[16, [4, 4], 2], (8, 3, 1, "same")]},
        catalog_class=PPOCatalog,
    )
    again = RLModuleConfig.from_dict(config.to_dict())
    assert encoder_of(again) == encoder_of(config)


@pytest.mark.parametrize("name", ["get_encoder_config", "get_pi_head_config", "get_action_dist_config"])
def test_cloning_decides_encoder_policy_head_and_distribution(name: str) -> None:
    assert getattr(BCCatalog(*SPACES, SETTINGS), name)() == getattr(Catalog(*SPACES, SETTINGS), name)()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("get_vf_head_config", "get_pi_head_config"),
        ("get_actor_critic_encoder_config", "get_encoder_config"),
    ],
)
def test_cloning_has_no_critic(name: str, instead: str) -> None:
    with pytest.raises(ValueError, match=f"BCCatalog.{name}: .* has no critic; use {instead}, or PPO"):
        getattr(BCCatalog(*SPACES, {}), name)()


def test_an_encoder_of_ones_own_for_cloning_decides_what_the_head_gets() -> None:
    class Mine(BCCatalog):
        def get_encoder_config(self) -> Buildable:
            return MLPEncoderConfig(input_dim=4, hidden=(31,))

    head = Mine(*SPACES, {}).get_pi_head_config()

    assert isinstance(head, MLPHeadConfig)
    assert head.input_dim == 31


@pytest.mark.parametrize("catalog_class", [Catalog, PPOCatalog, ImpalaCatalog, APPOCatalog, BCCatalog])
def test_a_catalog_has_everything_that_a_module_asks_of_one(catalog_class: type[Catalog]) -> None:
    catalog: CatalogProtocol = catalog_class(*SPACES, {})
    asked = {name for name in vars(CatalogProtocol) if not name.startswith("_")}
    where_there_are_some = {"masks_actions", "get_normalizer_config", "get_encoder_config"}

    assert set(DECISIONS) <= asked | where_there_are_some
    assert [name for name in asked | where_there_are_some if not hasattr(catalog, name)] == []
