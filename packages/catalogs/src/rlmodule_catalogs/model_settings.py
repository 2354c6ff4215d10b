"""`model_config_dict`, typed: the names and defaults that RLlib's users know, each one in force.

An unknown key is an error with the nearest name, so that a typo never passes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rlmodule_catalogs.conv_filters import conv_layers
from rlmodule_catalogs.rllib_names import ANSWERS, rllib_answer
from rlmodule_catalogs.setting_rules import contradictions, value_problems
from rlmodule_core import ConvLayer


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The settings that a catalog reads. Sizes are numbers of units."""

    fcnet_hiddens: tuple[int, ...] = (256, 256)
    fcnet_activation: str = "tanh"
    fcnet_layer_norm: bool = False
    conv_filters: tuple[ConvLayer, ...] | None = None  # None: by the size of the image
    conv_activation: str = "relu"
    conv_layer_norm: bool = False
    post_fcnet_hiddens: tuple[int, ...] = ()  # hidden layers of each head
    post_fcnet_activation: str = "relu"
    encoder_latent_dim: int | None = None  # one more layer, of this size, at the encoder's end
    free_log_std: bool = False  # a Gaussian's log-std does not depend on the observation
    squash_actions: bool = False  # a tanh bounds Box actions; False: they are clipped for the environment
    vf_share_layers: bool = False  # one encoder for actor and critic
    use_lstm: bool = False
    use_gru: bool = False
    lstm_cell_size: int = 256  # of a GRU too
    lstm_forget_bias: float = 1.0
    max_seq_len: int = 20  # steps that a gradient goes back in time
    burn_in: int = 0  # the first of them, which make the state but carry no gradient
    embedding_dim: int | None = None  # classes more than this many get learned vectors of this size
    initializer: str = "orthogonal"  # an InitializerName
    normalize_observations: bool = False  # by the running mean and deviation of every float
    observation_clip: float = 10.0  # of the normalised ones, in deviations

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        problems = value_problems(values) + contradictions(values)
        if not problems and not all(isinstance(layer, ConvLayer) for layer in self.conv_filters or ()):
            problems = ["conv_filters: expected ConvLayers; model_settings() makes them of lists"]
        _raise(problems)


def model_settings(model_config_dict: Mapping[str, Any]) -> ModelSettings:
    """Return the settings with the defaults filled in.

    Raises ValueError that lists every unknown key with the nearest known one, every bad value and
    every contradiction.

    >>> model_settings({"fcnet_hiddens": [64]}).fcnet_hiddens
    (64,)
    """
    if not isinstance(model_config_dict, Mapping):
        _raise([f"expected a dict of settings, {{}} for the defaults, got {model_config_dict!r}"])
    defaults = {field.name: field.default for field in fields(ModelSettings)}
    values: dict[str, Any] = {key: _frozen(value) for key, value in model_config_dict.items()}
    problems = [_explain(key, list(defaults)) for key in values if key not in defaults]
    _raise(problems + value_problems(values) + contradictions(defaults | values))
    if values.get("conv_filters") is not None:
        values["conv_filters"] = conv_layers(values["conv_filters"])
    return ModelSettings(**values)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _raise(problems: list[str]) -> None:
    if problems:
        raise ValueError(f"model_config_dict: {'; '.join(problems)}")


def _explain(key: object, known: list[str]) -> str:
    answer = rllib_answer(key)
    if answer is not None:
        return answer
    names = [*known, *ANSWERS]
    nearest = difflib.get_close_matches(str(key).lower(), names, n=1, cutoff=0.5)  # all are in lower case
    if not nearest:
        return f"unknown key {key!r}, known are {', '.join(known)}"
    theirs = rllib_answer(nearest[0]) if nearest[0] in ANSWERS else None
    return f"unknown key {key!r}, did you mean {nearest[0]!r}?{'' if theirs is None else f' {theirs}'}"
