"""Configs of encoders: images, classes, nested observations, memory, and running normalisation.

Each maps an observation with any leading axes, `[*batch, ...]`, to features `[*batch, output_dim]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from rlmodule_core import config_checks as checks
from rlmodule_core.config_checks import one_of, require_fields
from rlmodule_core.conv_configs import CNNEncoderConfig, ConvLayer, Padding, Pair
from rlmodule_core.model_config import (
    INITIALIZER,
    ActorCriticEncoderConfig,
    Buildable,
    MLPEncoderConfig,
    ModelConfig,
    output_dim,
)
from rlmodule_core.observation_parts import (
    ACTION_MASK,
    LeafPath,
    first_leaf,
    leaf_at,
    map_leaves,
    path_text,
    with_leaf,
    without_key,
)

__all__ = [
    "ACTION_MASK",
    "CNNEncoderConfig",
    "CellName",
    "ComplexEncoderConfig",
    "ConvLayer",
    "EmbeddingEncoderConfig",
    "FlattenEncoderConfig",
    "LeafPath",
    "NormalizerConfig",
    "OneHotEncoderConfig",
    "Padding",
    "Pair",
    "RecurrentEncoderConfig",
    "first_leaf",
    "leaf_at",
    "map_leaves",
    "with_leaf",
    "without_key",
]

CellName: TypeAlias = Literal["lstm", "gru"]
_STATES: Final[dict[str, tuple[str, ...]]] = {"lstm": ("h", "c"), "gru": ("h",)}
_FUSION: Final = checks.Rule(
    lambda value: value is None or isinstance(value, MLPEncoderConfig), "an MLPEncoderConfig or None"
)
_CELL: Final = one_of(get_args(CellName))


@dataclass(frozen=True, kw_only=True)
class FlattenEncoderConfig(ModelConfig):
    """`[*batch, *shape]` of numbers -> `[*batch, n]` floats, times `scale`; nothing is learned."""

    shape: tuple[int, ...]
    scale: float = 1.0  # 1 / 255 for bytes

    def __post_init__(self) -> None:
        require_fields(self, shape=checks.SHAPE, scale=checks.NUMBER)

    @property
    def output_dim(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class OneHotEncoderConfig(ModelConfig):
    """`[*batch, *shape]` of classes -> their one-hot vectors side by side; nothing is learned.

    Component i has the classes `start[i] .. start[i] + sizes[i] - 1`; of any other it gives zeros.
    """

    shape: tuple[int, ...]  # () for a Discrete
    sizes: tuple[int, ...]
    start: tuple[int, ...]

    def __post_init__(self) -> None:
        require_fields(self, shape=checks.SHAPE, sizes=checks.SIZES, start=checks.INTEGERS)
        _require_one_each(self)

    @property
    def output_dim(self) -> int:
        """How many classes there are in all."""
        return sum(self.sizes)

    def columns(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return for each output the component that it belongs to, and the class that it stands for.

        >>> OneHotEncoderConfig(shape=(2,), sizes=(2, 3), start=(0, 5)).columns()
        (array([0, 0, 1, 1, 1]), array([0, 1, 5, 6, 7]))
        """
        component = np.repeat(np.arange(len(self.sizes)), self.sizes)
        classes = [np.arange(first, first + size) for first, size in zip(self.start, self.sizes, strict=True)]
        return component, np.concatenate(classes)


@dataclass(frozen=True, kw_only=True)
class EmbeddingEncoderConfig(ModelConfig):
    """`[*batch, *shape]` of classes -> a learned vector of size `dim` for each component, side by side.

    Classes are as in OneHotEncoderConfig; the vectors are drawn from a standard normal times `gain`.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    start: tuple[int, ...]
    dim: int
    gain: float = 1.0

    def __post_init__(self) -> None:
        require_fields(
            self,
            shape=checks.SHAPE,
            sizes=checks.SIZES,
            start=checks.INTEGERS,
            dim=checks.SIZE,
            gain=checks.NUMBER,
        )
        _require_one_each(self)

    @property
    def output_dim(self) -> int:
        """The size of all vectors together."""
        return self.dim * len(self.sizes)


@dataclass(frozen=True, kw_only=True)
class ComplexEncoderConfig(ModelConfig):
    """A nested observation: each leaf through its own encoder, joined in the order given, then `fusion`."""

    leaves: tuple[tuple[LeafPath, Buildable], ...]
    fusion: MLPEncoderConfig | None = None

    def __post_init__(self) -> None:
        require_fields(self, leaves=checks.LEAF_CONFIGS, fusion=_FUSION)
        for path, config in self.leaves:
            _require_stateless(config, f"{type(self).__name__}: leaves: {path_text(tuple(path)) or '()'}")
        sized = all(getattr(config, "output_dim", None) is not None for _, config in self.leaves)
        if self.fusion is not None and sized and self.fusion.input_dim != self.joined_dim:
            raise ValueError(
                f"{type(self).__name__}: fusion: its input_dim is {self.fusion.input_dim}, but the leaves "
                f"have {self.joined_dim} features together"
            )

    @property
    def joined_dim(self) -> int:
        """The size of the encoded leaves together, which is the input of `fusion`."""
        return sum(output_dim(config) for _, config in self.leaves)

    @property
    def output_dim(self) -> int:
        """The size of what `fusion` gives, or of the joined leaves without one."""
        return self.joined_dim if self.fusion is None else self.fusion.output_dim


@dataclass(frozen=True, kw_only=True)
class RecurrentEncoderConfig(ModelConfig):
    """Any encoder, then one LSTM or GRU over time.

    Called with `[B, T, ...]` and a state. Equations as PyTorch writes them, gates in the order i, f, g, o
    (LSTM) and r, z, n (GRU), two biases.
    Source: Hochreiter and Schmidhuber 1997 (LSTM); Cho et al. 2014, https://arxiv.org/abs/1406.1078 (GRU).
    """

    base: Buildable  # encodes each step
    cell: CellName = "lstm"
    hidden_dim: int = 256
    forget_bias: float = 1.0  # of an LSTM, to begin with: it remembers before it has learned to
    initializer: str = "orthogonal"  # an InitializerName, of each gate
    burn_in: int = 0  # first steps of a longer sequence, which make the state but carry no gradient

    def __post_init__(self) -> None:
        require_fields(
            self,
            base=checks.BUILDABLE,
            cell=_CELL,
            hidden_dim=checks.SIZE,
            forget_bias=checks.NUMBER,
            initializer=INITIALIZER,
            burn_in=checks.COUNT,
        )
        _require_stateless(self.base, f"{type(self).__name__}: base")

    @property
    def output_dim(self) -> int:
        """The size of the hidden state."""
        return self.hidden_dim

    def initial_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the state at the start of an episode, without batch axis: zeros."""
        return {name: np.zeros(self.hidden_dim, np.float32) for name in _STATES[self.cell]}


@dataclass(frozen=True, kw_only=True)
class NormalizerConfig(ModelConfig):
    """Observations minus their running mean, over their running deviation, clipped; other leaves as they are.

    The statistics are weights that no gradient moves: they stand still until `update` is called with the
    observations of a batch, and travel with the state.
    """

    leaves: tuple[tuple[LeafPath, tuple[int, ...]], ...]  # where the floats are, and their shapes
    clip: float = 10.0  # in standard deviations
    epsilon: float = 1e-8  # added to the variance

    def __post_init__(self) -> None:
        require_fields(self, leaves=checks.LEAF_SHAPES, clip=checks.LIMIT, epsilon=checks.POSITIVE)


def _require_stateless(config: Buildable, where: str) -> None:
    if isinstance(config, (RecurrentEncoderConfig, ActorCriticEncoderConfig, NormalizerConfig)):
        raise ValueError(
            f"{where}: a {type(config).__name__} cannot stand here, where one observation becomes features "
            "without a state; a memory comes last: RecurrentEncoderConfig(base=the encoder of all leaves)"
        )


def _require_one_each(config: OneHotEncoderConfig | EmbeddingEncoderConfig) -> None:
    components = math.prod(config.shape)
    if not components == len(config.sizes) == len(config.start):
        raise ValueError(
            f"{type(config).__name__}: sizes, start: expected one entry for each of the {components} "
            f"components of shape={config.shape}, got {len(config.sizes)} and {len(config.start)}"
        )
