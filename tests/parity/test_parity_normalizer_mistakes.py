"""Observations that do not fit a normaliser: refused as a whole, in both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_catalogs import PPOCatalog
from rlmodule_core import RLModuleConfig
from rlmodule_core.state import flatten_state
from rlmodule_tf import TfActorCriticModule
from rlmodule_torch import TorchActorCriticModule

SPACE = spaces.Dict(
    {"arm": spaces.Box(-1, 1, (3,)), "legs": spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2, 2))])}
)
GOOD: dict[str, Any] = {"arm": np.ones((5, 3)), "legs": (np.zeros(5), np.ones((5, 2, 2)))}
modules = pytest.mark.parametrize("module_class", [TorchActorCriticModule, TfActorCriticModule])


def make(module_class: Any) -> Any:
    settings = {"fcnet_hiddens": [2], "normalize_observations": True}
    config = RLModuleConfig(
        observation_space=SPACE,
        action_space=spaces.Discrete(2),
        model_config_dict=settings,
        catalog_class=PPOCatalog,
    )
    return module_class(config)


@modules
@pytest.mark.parametrize(
    ("obs", "told"),
    [
        (
            {**GOOD, "legs": (np.zeros(5), np.ones((5, 3, 2)))},
            [r"obs\.legs\[1\]: .* \[\.\.\., 2, 2\], got .*3, 2"],
        ),
        ({"arm": GOOD["arm"]}, [r"obs\.legs\[1\]: expected an array, found none"]),
        ({**GOOD, "legs": (np.zeros(5),)}, [r"obs\.legs\[1\]: expected an array, found none"]),
        ({**GOOD, "legs": (np.zeros(5), np.full((5, 2, 2), "x"))}, [r"obs\.legs\[1\]: expected numbers"]),
        ({**GOOD, "legs": (0, np.ones((2, 2)))}, [r"obs\.legs\[1\]: expected numbers \[\.\.\., 2, 2\]"]),
        ({"arm": np.ones(3)}, [r"obs\.arm: .*float64 \[3\]", r"obs\.legs\[1\]: "]),
        (None, [r"obs\.arm: ", r"obs\.legs\[1\]: "]),
    ],
)
def test_what_does_not_fit_is_refused_leaf_by_leaf_and_changes_nothing(
    module_class: Any, obs: Any, told: list[str]
) -> None:
    module = make(module_class)
    module.update_normalizer(GOOD)
    before = flatten_state(module.get_state())

    with pytest.raises(ValueError, match=r"update_normalizer: obs.*; nothing was changed") as caught:
        module.update_normalizer(obs)

    for part in told:
        caught.match(part)
    for name, array in flatten_state(module.get_state()).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
