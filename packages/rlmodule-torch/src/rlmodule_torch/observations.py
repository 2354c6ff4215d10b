"""Encoders of observations that are no vectors, and the running normalisation of those that are."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rlmodule_core import (
    ComplexEncoderConfig,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
)
from rlmodule_core.encoder_configs import leaf_at, with_leaf
from rlmodule_core.nest import Nest
from rlmodule_core.numpy_layers import RunningNorm
from rlmodule_core.running_moments import Moments, leaf_rows, updated_moments
from rlmodule_torch.arrays import as_array
from rlmodule_torch.layers import TorchLayer, TorchMLPEncoder, generator, parameter


class TorchFlattenEncoder(TorchLayer):
    """`[*batch, *shape]` of numbers -> `[*batch, n]` floats; nothing is learned."""

    def __init__(self, config: FlattenEncoderConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, x: Tensor) -> Tensor:
        """Flatten, cast and scale."""
        config = self.config
        x = _flat(x, config.shape, config.output_dim)
        x = x.to(torch.get_default_dtype())
        return x if config.scale == 1.0 else x * config.scale


class TorchOneHotEncoder(TorchLayer):
    """`[*batch, *shape]` of classes, ints or floats -> one-hot vectors side by side; nothing is learned."""

    component: Tensor
    number: Tensor

    def __init__(self, config: OneHotEncoderConfig) -> None:
        super().__init__()
        self.config = config
        component, number = config.columns()
        self.register_buffer("component", torch.tensor(component), persistent=False)
        self.register_buffer("number", torch.tensor(number), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compare each class with all that it could be, which needs no look at the numbers."""
        sizes = self.config.sizes
        x = _flat(x, self.config.shape, len(sizes))
        if len(sizes) > 1:
            x = x.index_select(-1, self.component)
        return (x == self.number).to(torch.get_default_dtype())


class TorchEmbeddingEncoder(TorchLayer):
    """`[*batch, *shape]` of classes, ints or floats -> a learned vector each, side by side."""

    start: Tensor
    size: Tensor
    offset: Tensor

    def __init__(self, config: EmbeddingEncoderConfig) -> None:
        super().__init__()
        self.config = config
        shape = (sum(config.sizes), config.dim)
        self.weight = parameter(config.gain * generator().standard_normal(shape))
        offset = np.cumsum((0, *config.sizes[:-1]))  # where the vectors of each component begin
        for name, numbers in (("start", config.start), ("size", config.sizes), ("offset", offset)):
            self.register_buffer(name, torch.tensor(np.array(numbers, np.int64)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Look the vectors up; a number that is no class gives zeros."""
        x = _flat(x, self.config.shape, len(self.config.sizes))
        index = x.long() - self.start
        known = (index >= 0) & (index < self.size) & (index + self.start == x)
        row = torch.where(known, index + self.offset, 0)
        found = torch.where(known[..., None], nn.functional.embedding(row, self.weight), 0.0)
        return found.flatten(-2)


class TorchComplexEncoder(TorchLayer):
    """A nested observation: each leaf through its own encoder, joined in their order, then `fusion`."""

    def __init__(self, config: ComplexEncoderConfig) -> None:
        super().__init__()
        self.paths = [path for path, _ in config.leaves]
        self.leaves = nn.ModuleList(leaf.build("torch") for _, leaf in config.leaves)
        self.fusion = None if config.fusion is None else TorchMLPEncoder(config.fusion)

    def forward(self, obs: Nest) -> Tensor:
        """Encode dicts, tuples, or any Mapping; leaves that no path names are not looked at."""
        parts = [encode(leaf_at(obs, path)) for path, encode in zip(self.paths, self.leaves, strict=True)]
        joined = torch.cat(parts, dim=-1)
        return joined if self.fusion is None else self.fusion(joined)


class TorchNormalizer(TorchLayer):
    """Observations minus their running mean, over their running deviation, clipped.

    The statistics are buffers: they are in the state, and nothing but `update` moves them. Before the first
    one observations are as they came.
    """

    def __init__(self, config: NormalizerConfig) -> None:
        super().__init__()
        self.config = config
        self.moments = nn.ModuleList(_Moments(shape) for _, shape in config.leaves)

    def forward(self, obs: Nest) -> Nest:
        """Return the observation with the config's leaves normalised, the others as they are."""
        for (path, _), moments in zip(self.config.leaves, self.moments, strict=True):
            obs = with_leaf(obs, path, moments(leaf_at(obs, path), self.config))
        return obs

    def update(self, obs: Nest) -> None:
        """Merge a batch of observations, NumPy arrays `[*batch, *shape]`; rows with a NaN are left out.

        Raises ValueError that lists every leaf that is missing or of another shape, and changes nothing.
        """
        for moments, rows in zip(self.moments, leaf_rows(self.config.leaves, obs), strict=True):
            cast(_Moments, moments).update(rows)

    def running_norm(self) -> RunningNorm | None:
        """Return the same over the very memory of the statistics; None unless it is one vector on the CPU."""
        if (
            len(self.moments) != 1
            or self.config.leaves[0][0]
            or self._forward_hooks
            or self._forward_pre_hooks
        ):
            return None
        own = cast(_Moments, self.moments[0])
        if own.mean.dim() != 1 or own.mean.device.type != "cpu" or own.mean.dtype is not torch.float32:
            return None
        arrays = (own.mean.numpy(), own.var.numpy(), own.count.numpy())
        return RunningNorm(*arrays, clip=self.config.clip, epsilon=self.config.epsilon)


class _Moments(TorchLayer):
    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("var", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, config: NormalizerConfig) -> Tensor:
        counted = self.count > 0  # else x stays as it is: nothing is known that it could be far from
        spread = torch.where(counted, self.var + config.epsilon, 1.0)
        limit = torch.where(counted, config.clip, math.inf)
        x = (x.to(self.mean.dtype) - self.mean) / spread.sqrt()
        return x.clamp(-limit, limit)

    def update(self, rows: np.ndarray[Any, Any]) -> None:
        old = Moments(as_array(self.mean), as_array(self.var), int(self.count))
        new = updated_moments(old, rows)
        with torch.no_grad():
            for name, value in vars(new).items():
                getattr(self, name).copy_(torch.tensor(value))


def _flat(x: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """Return `[*batch, *shape]` as `[*batch, size]`."""
    return x.reshape(*x.shape[: x.dim() - len(shape)], size)
