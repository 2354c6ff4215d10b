"""`model_config_dict`, typed: the names and defaults that RLlib's users know, each one in force.

An unknown key is an error with the nearest name, so that a typo never passes.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
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
    squash_actions: bool = False  # a tanh bounds Box actions; False: they are clipped for the environment
    vf_share_layers: bool = False  # one encoder for actor and critic

    def __post_init__(self) -> None:
        problems = _problems({field.name: getattr(self, field.name) for field in fields(self)})
        if problems:
            raise ValueError(f"model_config_dict: {'; '.join(problems)}")


def model_settings(model_config_dict: Mapping[str, Any]) -> ModelSettings:
    """Return the settings with the defaults filled in.

    Raises ValueError that lists every unknown key with the nearest known one, and every bad value.

    >>> model_settings({"fcnet_hiddens": [64]}).fcnet_hiddens
    (64,)
    """
    known = [field.name for field in fields(ModelSettings)]
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in model_config_dict.items()
    }
    problems = [_explain(key, known) for key in values if key not in known] + _problems(values)
    if problems:
        raise ValueError(f"model_config_dict: {'; '.join(problems)}")
    return ModelSettings(**values)


def _problems(values: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with each value, in the order of the settings."""
    rules: dict[str, tuple[Callable[[Any], bool], str]] = {
        "fcnet_hiddens": (_are_sizes, "a list of positive integers"),
        "fcnet_activation": (ACTIVATION_NAMES.__contains__, f"one of {', '.join(ACTIVATION_NAMES)}"),
        "post_fcnet_hiddens": (_are_sizes, "a list of positive integers"),
        "post_fcnet_activation": (ACTIVATION_NAMES.__contains__, f"one of {', '.join(ACTIVATION_NAMES)}"),
        "free_log_std": (_is_bool, "True or False"),
        "squash_actions": (_is_bool, "True or False"),
        "vf_share_layers": (_is_bool, "True or False"),
    }
    return [
        f"{name}: expected {expected}, got {values[name]!r}"
        for name, (is_good, expected) in rules.items()
        if name in values and not is_good(values[name])
    ]


def _are_sizes(value: object) -> bool:
    return isinstance(value, tuple) and all(type(size) is int and size > 0 for size in value)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _explain(key: object, known: list[str]) -> str:
    if key == "custom_model":
        return "'custom_model' is not a setting: pass your module as rl_module_spec"
    nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
    return f"unknown key {key!r}, {hint}"
