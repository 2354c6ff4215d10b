"""What each setting may be, and which may not stand together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from rlmodule_catalogs.conv_filters import conv_filter_problems
from rlmodule_core.config_checks import did_you_mean
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_core.model_config import ACTIVATION_NAMES

Rule: TypeAlias = tuple[Callable[[Any], bool], str]
"""Whether a value is good, and what was expected if it is not."""


def value_problems(values: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with each value, in the order of the settings; unknown keys are passed over."""
    told = []
    for name, (is_good, expected) in RULES.items():
        if name in values and not is_good(values[name]):
            hint = did_you_mean(values[name], NAMES.get(name, ()))
            told.append(f"{name}: expected {expected}, got {values[name]!r}{hint}")
    return told + conv_filter_problems(values.get("conv_filters"))


def contradictions(values: Mapping[str, Any]) -> list[str]:
    """Say which settings, each good by itself, cannot stand together; `values` has all of them."""
    told = []
    if values["use_lstm"] is True and values["use_gru"] is True:
        told.append("use_lstm and use_gru: one encoder has one kind of memory, take one of them")
    burn_in, max_seq_len = values["burn_in"], values["max_seq_len"]
    if _is_size(max_seq_len) and type(burn_in) is int and burn_in >= max_seq_len:
        told.append(
            f"burn_in: {burn_in} steps of sequences of max_seq_len={max_seq_len} leave none to learn from, "
            "take fewer, or longer sequences"
        )
    return told


def _are_sizes(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_size, value))


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


_SIZES: Rule = (_are_sizes, "a list of positive integers")
_SIZE: Rule = (_is_size, "a positive integer")
_SIZE_OR_NONE: Rule = (lambda value: value is None or _is_size(value), "a positive integer or None")
_BOOL: Rule = (lambda value: isinstance(value, bool), "True or False")
_ACTIVATION: Rule = (ACTIVATION_NAMES.__contains__, f"one of {', '.join(ACTIVATION_NAMES)}")

RULES: dict[str, Rule] = {
    "fcnet_hiddens": _SIZES,
    "fcnet_activation": _ACTIVATION,
    "fcnet_layer_norm": _BOOL,
    "conv_activation": _ACTIVATION,
    "conv_layer_norm": _BOOL,
    "post_fcnet_hiddens": _SIZES,
    "post_fcnet_activation": _ACTIVATION,
    "encoder_latent_dim": _SIZE_OR_NONE,
    "free_log_std": _BOOL,
    "squash_actions": _BOOL,
    "vf_share_layers": _BOOL,
    "use_lstm": _BOOL,
    "use_gru": _BOOL,
    "lstm_cell_size": _SIZE,
    "lstm_forget_bias": (_is_number, "a finite number"),
    "max_seq_len": _SIZE,
    "burn_in": (lambda value: type(value) is int and value >= 0, "an integer, 0 or more"),
    "embedding_dim": _SIZE_OR_NONE,
    "initializer": (INITIALIZER_NAMES.__contains__, f"one of {', '.join(INITIALIZER_NAMES)}"),
    "normalize_observations": _BOOL,
    "observation_clip": (lambda value: _is_number(value) and value > 0, "a positive number"),
}

NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("fcnet_activation", "conv_activation", "post_fcnet_activation"), ACTIVATION_NAMES),
    "initializer": INITIALIZER_NAMES,
}
"""Of the settings that are a name: a typo is told the nearest."""
