"""What is normalised by its running mean and deviation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import Catalog, ModelSettings, normalizer_config
from rlmodule_core import NormalizerConfig

TWO = spaces.Discrete(2)
BYTES = spaces.Box(0, 255, (84, 84, 3), np.uint8)
ASKED = ModelSettings(normalize_observations=True)


@pytest.mark.parametrize(
    ("space", "leaves"),
    [
        (spaces.Box(-1, 1, (4,)), [((), (4,))]),
        (spaces.Box(-1, 1, (4,), np.float64), [((), (4,))]),
        (spaces.Box(-1, 1, ()), [((), ())]),
        (spaces.Box(0, 1, (9, 9, 3)), [((), (9, 9, 3))]),
        (
            spaces.Dict(
                {
                    "z": spaces.Box(-1, 1, (2, 3)),
                    "camera": BYTES,
                    "arm": spaces.Tuple([TWO, spaces.MultiBinary(3), spaces.Box(-1, 1, (6,))]),
                    "count": spaces.Box(0, 9, (2,), np.int64),
                    "bit": spaces.Box(0, 1, (2,), np.bool_),
                    "text": spaces.Text(3),
                }
            ),
            [(("arm", 2), (6,)), (("z",), (2, 3))],
        ),
    ],
    ids=str,
)
def test_every_box_of_floats_is_normalised_and_nothing_else(space: Any, leaves: Any) -> None:
    assert normalizer_config(space, ASKED) == NormalizerConfig(leaves=tuple(leaves), clip=10.0)


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (4,)), BYTES, None], ids=str)
def test_nothing_is_normalised_unless_it_is_asked_for(space: Any) -> None:
    assert normalizer_config(space, ModelSettings()) is None
    assert Catalog(space, TWO, {}).get_normalizer_config() is None


@pytest.mark.parametrize("space", [BYTES, TWO, spaces.Tuple([BYTES, TWO]), spaces.Text(3), None], ids=str)
def test_an_observation_without_floats_is_refused(space: Any) -> None:
    with pytest.raises(
        ValueError, match="normalize_observations: no part of the observation is a Box of floats"
    ):
        Catalog(space, TWO, {"normalize_observations": True}).get_normalizer_config()


def test_a_mask_is_not_normalised_though_it_be_floats() -> None:
    space = spaces.Dict({"action_mask": spaces.Box(0, 1, (2,)), "board": spaces.Box(0, 1, (9,))})
    asked = {"normalize_observations": True, "observation_clip": 5}
    config = Catalog(space, TWO, asked).get_normalizer_config()

    assert config == NormalizerConfig(leaves=((("board",), (9,)),), clip=5.0)
    assert config is not None
    assert type(config.clip) is float
