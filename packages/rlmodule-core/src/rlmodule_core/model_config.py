"""Model configs: what to build, as frozen data. `build(framework)` turns one into layers.

A class of your own with a `build(framework)` works wherever one of these does. The configs of encoders
of other observations than vectors are in `encoder_configs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

from rlmodule_core.config_checks import (
    BOOL,
    BUILDABLE,
    NUMBER,
    SIZE,
    SIZES,
    is_integer,
    one_of,
    require_fields,
)
from rlmodule_core.frameworks import framework_module
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_specs.wording import safe_repr

ActivationName: TypeAlias = Literal["elu", "gelu", "leaky_relu", "linear", "relu", "sigmoid", "silu", "tanh"]
ACTIVATION_NAMES: tuple[str, ...] = get_args(ActivationName)

ACTIVATION: Final = one_of(ACTIVATION_NAMES)
INITIALIZER: Final = one_of(INITIALIZER_NAMES)


class Buildable(Protocol):
    """Anything that makes layers for a framework: the configs below, or a class of the user's."""

    def build(self, framework: str) -> Any: ...  # noqa: D102  # the framework's own layer class


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Base of the configs that the framework packages know how to build."""

    def build(self, framework: str) -> Any:
        """Return the framework's layer (an `nn.Module`, a `tf.Module`).

        Raises ImportError if the package `rlmodule_<framework>` is not installed.
        """
        return framework_module(framework, "builder").build(self)


@dataclass(frozen=True, kw_only=True)
class MLPEncoderConfig(ModelConfig):
    """`[..., input_dim]` -> `[..., output_dim]`: dense layers, each with its norm and its activation."""

    input_dim: int
    hidden: tuple[int, ...]
    activation: str = "tanh"  # an ActivationName
    layer_norm: bool = False  # over the outputs of each layer, before its activation
    initializer: str = "orthogonal"  # an InitializerName
    gain: float = math.sqrt(2.0)  # of the initial weights

    def __post_init__(self) -> None:
        require_fields(
            self,
            input_dim=SIZE,
            hidden=SIZES,
            activation=ACTIVATION,
            layer_norm=BOOL,
            initializer=INITIALIZER,
            gain=NUMBER,
        )

    @property
    def output_dim(self) -> int:
        """The size of the last hidden layer."""
        return self.hidden[-1] if self.hidden else self.input_dim


@dataclass(frozen=True, kw_only=True)
class ActorCriticEncoderConfig(ModelConfig):
    """One encoder for both, or one each of the same kind.

    Called with an observation it returns the pair (features of the actor, features of the critic).
    """

    base: Buildable
    shared: bool = False

    def __post_init__(self) -> None:
        require_fields(self, base=BUILDABLE, shared=BOOL)


@dataclass(frozen=True, kw_only=True)
class MLPHeadConfig(ModelConfig):
    """`[..., input_dim]` -> `[..., output_dim]`: hidden layers with the activation, then a linear one."""

    input_dim: int
    output_dim: int
    hidden: tuple[int, ...] = ()
    activation: str = "tanh"  # an ActivationName
    initializer: str = "orthogonal"  # an InitializerName
    gain: float = 1.0  # of the last layer; hidden ones have sqrt 2

    def __post_init__(self) -> None:
        require_fields(
            self,
            input_dim=SIZE,
            output_dim=SIZE,
            hidden=SIZES,
            activation=ACTIVATION,
            initializer=INITIALIZER,
            gain=NUMBER,
        )


@dataclass(frozen=True, kw_only=True)
class FreeLogStdHeadConfig(MLPHeadConfig):
    """As MLPHeadConfig, but the second half of the outputs is a vector that no input changes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output_dim % 2:
            raise ValueError(
                f"{type(self).__name__}: output_dim: expected an even number, as many means as log-stds, got "
                f"{self.output_dim}"
            )

    @property
    def mean(self) -> MLPHeadConfig:
        """The head of the first half."""
        values = {field.name: getattr(self, field.name) for field in fields(MLPHeadConfig)}
        return MLPHeadConfig(**{**values, "output_dim": self.output_dim // 2})


def output_dim(config: Buildable) -> int:
    """Return the size of what a config's layer gives. Raises ValueError if the config does not say it."""
    name, size = type(config).__name__, getattr(config, "output_dim", None)
    if size is None:
        raise ValueError(
            f"{name} has no output_dim, which the layers behind it need: add an int "
            "attribute output_dim, the last size of what its layer returns"
        )
    if not is_integer(size):
        raise ValueError(
            f"{name}.output_dim: expected an int, the last size of what its layer returns, got "
            f"{safe_repr(size)} of type {type(size).__name__}"
        )
    return int(size)
