"""Action masks: what counts as one, what is encoded beside it, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog
from rlmodule_core import MLPEncoderConfig

BOARD = spaces.Box(0, 1, (9,))
THREE, PAIR = spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 3])
GRID = spaces.MultiDiscrete(np.array([[2, 3], [4, 5]]))


def masked(mask: Any, **others: Any) -> spaces.Dict:
    return spaces.Dict({"action_mask": mask, **others})


@pytest.mark.parametrize(
    ("mask", "actions"),
    [
        (spaces.Box(0, 1, (3,), np.int8), THREE),
        (spaces.Box(0, 1, (3,)), THREE),
        (spaces.MultiBinary(3), THREE),
        (spaces.MultiDiscrete([2, 2, 2]), THREE),
        (spaces.MultiBinary(5), PAIR),
        (spaces.MultiBinary(14), GRID),
        (spaces.MultiBinary((2, 7)), GRID),
        (spaces.MultiBinary(1), spaces.Discrete(1)),
    ],
    ids=str,
)
def test_a_mask_is_not_encoded(mask: Any, actions: Any) -> None:
    catalog = Catalog(masked(mask, board=BOARD, turn=THREE), actions, {"fcnet_hiddens": [8]})
    without = Catalog(spaces.Dict({"board": BOARD, "turn": THREE}), actions, {"fcnet_hiddens": [8]})

    assert catalog.masks_actions is True
    assert without.masks_actions is False
    assert catalog.encoded_space == without.encoded_space == without.observation_space
    assert catalog.get_encoder_config() == without.get_encoder_config()
    assert catalog.get_pi_head_config() == without.get_pi_head_config()


def test_the_observation_space_itself_is_left_alone() -> None:
    space = masked(spaces.MultiBinary(3), board=BOARD)
    Catalog(space, THREE, {}).get_encoder_config()
    assert list(space.spaces) == ["action_mask", "board"]


@pytest.mark.parametrize("space", [BOARD, spaces.Dict({"board": BOARD}), spaces.Text(3), None], ids=str)
@pytest.mark.parametrize("actions", [THREE, BOARD, None], ids=str)
def test_without_such_a_key_nothing_is_masked(space: Any, actions: Any) -> None:
    catalog = Catalog(space, actions, {})
    assert catalog.masks_actions is False
    assert catalog.encoded_space is space


def test_a_key_of_that_name_further_down_is_an_observation() -> None:
    inner = masked(spaces.MultiBinary(3), board=BOARD)
    catalog = Catalog(spaces.Dict({"player": inner}), THREE, {})

    assert catalog.masks_actions is False
    config: Any = catalog.get_encoder_config()
    assert [path for path, _ in config.leaves] == [("player", "action_mask"), ("player", "board")]


@pytest.mark.parametrize(
    ("mask", "actions", "told"),
    [
        (spaces.MultiBinary(2), THREE, r"holds 2 numbers, but Discrete\(3, start=5\) has 3 logits"),
        (spaces.MultiBinary(2), PAIR, r"holds 2 numbers, but MultiDiscrete\(\[2 3\]\) has 5 logits"),
        (spaces.MultiBinary((2, 3)), PAIR, r"holds 6 numbers, but MultiDiscrete"),
        (spaces.Discrete(3), THREE, r"Discrete\(3\) holds no array of numbers, but Discrete"),
        (spaces.Discrete(2), spaces.Discrete(1), r"Discrete\(2\) holds no array of numbers, but Discrete"),
        (spaces.Text(3), THREE, "holds no array of numbers, but Discrete"),
        (spaces.Dict({"a": spaces.MultiBinary(3)}), THREE, "holds no array of numbers, but Discrete"),
    ],
    ids=str,
)
def test_a_mask_of_another_size_is_refused_with_both_sizes(mask: Any, actions: Any, told: str) -> None:
    catalog = Catalog(masked(mask, board=BOARD), actions, {})
    for ask in (lambda: catalog.masks_actions, lambda: catalog.encoded_space, catalog.get_encoder_config):
        with pytest.raises(ValueError, match=rf"observation space\.action_mask: .*{told}"):
            ask()


ARM = spaces.Box(-1, 1, (3,))


@pytest.mark.parametrize(
    "actions", [ARM, spaces.MultiBinary(3), spaces.Dict({"a": THREE}), spaces.Tuple([THREE]), None]
)
def test_a_mask_for_other_actions_is_refused_with_the_advice_to_rename_it(actions: Any) -> None:
    catalog = Catalog(masked(spaces.MultiBinary(3), board=BOARD), actions, {})
    with pytest.raises(
        ValueError, match=r"masks are for Discrete and MultiDiscrete actions, got .*; rename the key"
    ):
        catalog.get_encoder_config()


def test_a_mask_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing but the mask"):
        Catalog(masked(spaces.MultiBinary(3)), THREE, {}).get_encoder_config()


def test_whoever_says_that_nothing_is_masked_has_the_key_encoded() -> None:
    class Seeing(Catalog):
        @property
        def masks_actions(self) -> bool:
            return False

    catalog = Seeing(masked(spaces.MultiBinary(3), board=BOARD), ARM, {})
    config: Any = catalog.get_encoder_config()

    assert [path for path, _ in config.leaves] == [("action_mask",), ("board",)]
    assert isinstance(config.fusion, MLPEncoderConfig)
    assert config.fusion.input_dim == 12


@pytest.mark.parametrize(("low", "high"), [(-np.inf, 0.0), (-1.0, 1.0), (0.0, 2.0)])
def test_a_mask_that_may_hold_other_numbers_than_0_and_1_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=r"action_mask: .* may hold other numbers than 0 and 1"):
        _ = Catalog(masked(spaces.Box(low, high, (3,)), board=BOARD), THREE, {}).masks_actions
