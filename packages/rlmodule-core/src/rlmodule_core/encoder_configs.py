"""Configs of encoders: images, classes, nested observations, memory, and running normalisation.

Each maps an observation with any leading axes, `[*batch, ...]`, to features `[*batch, output_dim]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rlmodule_core.model_config import Buildable, MLPEncoderConfig, ModelConfig, output_dim
from rlmodule_core.nested_dict import NestedDict

ACTION_MASK: Final = "action_mask"
"""The entry of a Dict observation that says which actions are allowed; it is not encoded."""

LeafPath: TypeAlias = tuple[str | int, ...]
"""Where a leaf stands in a nested observation: keys of dicts, positions in tuples; () is the whole."""

Padding: TypeAlias = Literal["same", "valid"]
Pair: TypeAlias = tuple[int, int]
"""(along the height, along the width)."""

CellName: TypeAlias = Literal["lstm", "gru"]


@dataclass(frozen=True, kw_only=True)
class FlattenEncoderConfig(ModelConfig):
    """`[*batch, *shape]` of numbers -> `[*batch, n]` floats, times `scale`; nothing is learned."""

    shape: tuple[int, ...]
    scale: float = 1.0  # 1 / 255 for bytes

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

    @property
    def output_dim(self) -> int:
        """The size of all vectors together."""
        return self.dim * len(self.sizes)


@dataclass(frozen=True, kw_only=True)
class ConvLayer:
    """One convolution; sizes are (along the height, along the width)."""

    channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = "same"

    def output_size(self, size: Pair) -> Pair:
        """Return the size of the map that this layer makes of one of `size`.

        >>> ConvLayer(channels=8, kernel=(4, 4), stride=(2, 2)).output_size((11, 10))
        (6, 5)
        """
        if self.padding == "same":
            return _ceil_div(size[0], self.stride[0]), _ceil_div(size[1], self.stride[1])
        return (
            _ceil_div(size[0] - self.kernel[0] + 1, self.stride[0]),
            _ceil_div(size[1] - self.kernel[1] + 1, self.stride[1]),
        )

    def pads(self, size: Pair) -> tuple[Pair, Pair]:
        """Return the zeros to put (above, below) and (left, right) of a map of `size`.

        "same" gives maps of `ceil(size / stride)`; of an odd number of zeros the larger half comes
        last. This is written out so that every framework computes the same.

        >>> ConvLayer(channels=8, kernel=(4, 4), stride=(2, 2)).pads((11, 10))
        ((1, 2), (1, 1))
        """
        if self.padding == "valid":
            return (0, 0), (0, 0)
        out = self.output_size(size)
        totals = [
            max((out[axis] - 1) * self.stride[axis] + self.kernel[axis] - size[axis], 0) for axis in (0, 1)
        ]
        return (totals[0] // 2, totals[0] - totals[0] // 2), (totals[1] // 2, totals[1] - totals[1] // 2)


@dataclass(frozen=True, kw_only=True)
class CNNEncoderConfig(ModelConfig):
    """`[*batch, height, width, channels]` -> convolutions -> flat, row by row, channels last -> dense layers.

    Every layer has its norm, if any, and its activation. Raises ValueError if a layer does not fit.
    """

    image: tuple[int, int, int]  # height, width, channels
    layers: tuple[ConvLayer, ...]
    channels_first: bool = False  # then the observation is [*batch, channels, height, width]
    activation: str = "relu"  # an ActivationName
    layer_norm: bool = False  # over a whole map; scale and shift for each channel
    scale: float = 1.0  # what the numbers are multiplied by: 1 / 255 for bytes
    hidden: tuple[int, ...] = ()  # of the dense layers behind the convolutions
    initializer: str = "orthogonal"  # an InitializerName
    gain: float = math.sqrt(2.0)  # of the initial weights

    def __post_init__(self) -> None:
        for index, (layer, size) in enumerate(zip(self.layers, self.map_sizes, strict=False)):
            if layer.padding == "valid" and (layer.kernel[0] > size[0] or layer.kernel[1] > size[1]):
                raise ValueError(
                    f"convolution {index}: its kernel {layer.kernel[0]}x{layer.kernel[1]} does not fit the "
                    f"map of {size[0]}x{size[1]} that it gets from an image of "
                    f"{self.image[0]}x{self.image[1]}; take a smaller one, or padding 'same'"
                )

    @property
    def map_sizes(self) -> tuple[Pair, ...]:
        """The sizes of the maps: of the image, then behind each layer."""
        sizes = [self.image[:2]]
        for layer in self.layers:
            sizes.append(layer.output_size(sizes[-1]))
        return tuple(sizes)

    @property
    def flat_dim(self) -> int:
        """How many numbers the last convolution gives."""
        channels = self.layers[-1].channels if self.layers else self.image[2]
        return math.prod(self.map_sizes[-1]) * channels

    @property
    def output_dim(self) -> int:
        """The size of the last layer."""
        return self.hidden[-1] if self.hidden else self.flat_dim


@dataclass(frozen=True, kw_only=True)
class ComplexEncoderConfig(ModelConfig):
    """A nested observation: each leaf through its own encoder, joined in the order given, then `fusion`."""

    leaves: tuple[tuple[LeafPath, Buildable], ...]
    fusion: MLPEncoderConfig | None = None

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

    @property
    def output_dim(self) -> int:
        """The size of the hidden state."""
        return self.hidden_dim

    def initial_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the state at the start of an episode, without batch axis: zeros."""
        names = ("h", "c") if self.cell == "lstm" else ("h",)
        return {name: np.zeros(self.hidden_dim, np.float32) for name in names}


@dataclass(frozen=True, kw_only=True)
class NormalizerConfig(ModelConfig):
    """Observations minus their running mean, over their running deviation, clipped; other leaves as they are.

    The statistics are weights that no gradient moves: they stand still until `update` is called with the
    observations of a batch, and travel with the state.
    """

    leaves: tuple[tuple[LeafPath, tuple[int, ...]], ...]  # where the floats are, and their shapes
    clip: float = 10.0  # in standard deviations
    epsilon: float = 1e-8  # added to the variance


def leaf_at(obs: Any, path: LeafPath) -> Any:
    """Return the leaf of a nested observation.

    >>> leaf_at({"arm": (1, 2)}, ("arm", 1))
    2
    """
    for key in path:
        obs = obs[key]
    return obs


def with_leaf(obs: Any, path: LeafPath, leaf: Any) -> Any:
    """Return a nested observation with another leaf in one place; the given one stays as it is.

    >>> with_leaf({"arm": (1, 2), "leg": 3}, ("arm", 1), 7)
    {'arm': (1, 7), 'leg': 3}
    """
    if not path:
        return leaf
    key, *rest = path
    changed = with_leaf(obs[key], tuple(rest), leaf)
    if isinstance(obs, Mapping):
        return {**_plain(obs), key: changed}
    parts = [changed if index == key else part for index, part in enumerate(obs)]
    return parts if isinstance(obs, list) else tuple(parts)


def map_leaves(function: Callable[[Any], Any], obs: Any) -> Any:
    """Return a nested observation with `function` applied to each leaf; a mapping becomes a dict.

    >>> map_leaves(str, {"arm": (1, 2)})
    {'arm': ('1', '2')}
    """
    if isinstance(obs, Mapping):
        return {key: map_leaves(function, part) for key, part in _plain(obs).items()}
    if isinstance(obs, (tuple, list)):
        parts = [map_leaves(function, part) for part in obs]
        return parts if isinstance(obs, list) else tuple(parts)
    return function(obs)


def first_leaf(obs: Any) -> Any:
    """Return one leaf of a nested observation, to read the leading sizes from."""
    found: list[Any] = []
    map_leaves(found.append, obs)
    return found[0]


def without_key(obs: Mapping[Any, Any], key: str) -> dict[Any, Any]:
    """Return a mapping as a dict that lacks one key."""
    return {name: part for name, part in _plain(obs).items() if name != key}


def _plain(obs: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return a mapping whose keys are single ones: those of a NestedDict are whole paths."""
    return obs.asdict() if isinstance(obs, NestedDict) else obs


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
