"""`model_config_dict`, typed: the names and defaults that RLlib's users know, each one in force.

An unknown key is an error with the nearest name, so that a typo never passes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rlmodule_core.model_config import ACTIVATION_NAMES



@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings that a catalog reads. Sizes are numbers of units."""

    fcnet_hiddens: tuple[int, ...] = (256, 256)
    fcnet_activation: str = "tanh"
    post_fcnet_hiddens: tuple[int, ...] = ()  # hidden layers of each head
    post_fcnet_activation: str = "relu"
    free_log_std: bool = False  # a Gaussian's log-std does not depend on the observation
    vf_share_layers: bool = False  # one encoder for actor and critic

    def __post_init__(self) -> None:
        problems = [
            f"{name}: expected positive integers, got {getattr(self, name)!r}"
            for name in ("fcnet_hiddens", "post_fcnet_hiddens")
            if not all(type(size) is int and size > 0 for size in getattr(self, name))
        ]
        problems += [
            f"{name}: expected one of {', '.join(ACTIVATION_NAMES)}, got {getattr(self, name)!r}"
            for name in ("fcnet_activation", "post_fcnet_activation")
            if getattr(self, name) not in ACTIVATION_NAMES
        ]
        problems += [
            f"{name}: expected True or False, got {getattr(self, name)!r}"
            for name in ("free_log_std", "vf_share_layers")
            if not isinstance(getattr(self, name), bool)
        ]
        if problems:
            raise ValueError("model_config_dict: " + "; ".join(problems))


def model_settings(model_config_dict: Mapping[str, Any]) -> ModelSettings:
    """Return the settings with the defaults filled in.

    Raises ValueError that lists every unknown key with the nearest known one, and every bad value.

    >>> model_settings({"fcnet_hiddens": [64]}).fcnet_hiddens
    (64,)
    """
    known = [field.name for field in fields(ModelSettings)]
    unknown = [_explain(key, known) for key in model_config_dict if key not in known]
    if unknown:
        raise ValueError(f"model_config_dict: {'; '.join(unknown)}")
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model_config_dict.items()
    }
    for name in ("fcnet_hiddens", "post_fcnet_hiddens"):
        if name in values and not isinstance(values[name], tuple):
            raise ValueError(f"model_config_dict: {name}: expected a list of sizes, got {values[name]!r}")
    return ModelSettings(**values)


def _explain(key: object, known: list[str]) -> str:
    if key == "custom_model":
        return "'custom_model' is not a setting: pass your module as rl_module_spec"
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
    return f"unknown key {key!r}, did you mean {nearest!r}?"
