"""What the smallest behaviour-cloning module is made of, read from its config once for all frameworks."""

from __future__ import annotations

from typing import NamedTuple

from gymnasium import spaces

from rlmodule_core.model_config import MLPHeadConfig
from rlmodule_core.module_config import RLModuleConfig
from rlmodule_core.spaces import UnsupportedSpaceError


class DiscreteBCSizes(NamedTuple):
    """Sizes of the three layers of units."""

    obs: int
    hidden: int
    actions: int


def discrete_bc_sizes(config: RLModuleConfig, *, where: str) -> DiscreteBCSizes:
    """Return the sizes for a config; `where` names the module in the errors.

    Raises UnsupportedSpaceError unless the spaces are a Box of rank 1 and a Discrete, and ValueError
    unless `model_config_dict["fcnet_hiddens"]` starts with a size.
    """
    if not isinstance(config, RLModuleConfig):
        raise ValueError(
            f"{where}: config: expected an RLModuleConfig, got {config!r:.60}; pass "
            "RLModuleConfig(observation_space=..., action_space=..., model_config_dict=...)"
        )
    obs, actions = config.observation_space, config.action_space
    fix = "Write a module of your own for it, or take one of the default modules with a catalog"
    if not (isinstance(obs, spaces.Box) and len(obs.shape) == 1):
        raise UnsupportedSpaceError(obs, where=f"{where}: observation space", known="Box of rank 1", fix=fix)
    if not isinstance(actions, spaces.Discrete):
        raise UnsupportedSpaceError(actions, where=f"{where}: action space", known="Discrete", fix=fix)
    hiddens = config.model_config_dict.get("fcnet_hiddens")
    hidden = hiddens[0] if isinstance(hiddens, (list, tuple)) and hiddens else None
    if not isinstance(hidden, int) or isinstance(hidden, bool) or hidden < 1:
        raise ValueError(
            f'{where}: model_config_dict["fcnet_hiddens"]: expected a list whose first entry is the size of '
            f"the hidden layer, [64] say, got {hiddens!r}"
        )
    return DiscreteBCSizes(obs.shape[0], hidden, int(actions.n))


def discrete_bc_head(sizes: DiscreteBCSizes) -> MLPHeadConfig:
    """Return the layers: one hidden of rectified units, then the logits.

    They are our own, so that a state fits whatever framework it was written in.
    """
    return MLPHeadConfig(
        input_dim=sizes.obs, hidden=(sizes.hidden,), output_dim=sizes.actions, activation="relu"
    )
