"""Dense layers in NumPy: a small network acts several times faster here than in a framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def _relu(x: Array) -> Array:
    return np.maximum(x, 0.0, out=x)


def _sigmoid(x: Array) -> Array:
    # tanh does not overflow, exp(-x) would
    return 0.5 * (1.0 + np.tanh(0.5 * x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "tanh": lambda x: np.tanh(x, out=x),
}
"""By name. Each may overwrite its argument, which is always a fresh array."""


@dataclass(frozen=True)
class DenseLayer:
    """`activation(x W^T + b)`."""

    weight: npt.NDArray[np.float32]  # [outputs, inputs]
    bias: npt.NDArray[np.float32]  # [outputs]
    activation: str


@dataclass(frozen=True)
class RunningNorm:
    """`(x - mean) / deviation`, clipped; x itself while nothing was counted."""

    mean: npt.NDArray[np.float32]  # [n]
    var: npt.NDArray[np.float32]  # [n]
    count: npt.NDArray[np.int64]  # []
    clip: float
    epsilon: float

    @property
    def deviation(self) -> npt.NDArray[np.float32]:
        """`[n]`, never 0."""
        deviation: npt.NDArray[np.float32] = np.sqrt(self.var + np.float32(self.epsilon))
        return deviation

    def __call__(self, x: Array) -> Array:
        """Return a new array, `[..., n]`."""
        if not self.count:
            return x.copy()
        x = (x - self.mean) / self.deviation
        clipped: Array = np.minimum(np.maximum(x, -self.clip, out=x), self.clip, out=x)
        return clipped


@dataclass(frozen=True)
class NumpyLayers:
    """Perhaps a normaliser, dense layers, perhaps a constant vector beside the outputs (a free log-std)."""

    layers: tuple[DenseLayer, ...]
    constant: npt.NDArray[np.float32] | None = None
    norm: RunningNorm | None = None

    def then(self, after: NumpyLayers) -> NumpyLayers:
        """Return these layers followed by `after`, which has no norm."""
        return NumpyLayers((*self.layers, *after.layers), after.constant, self.norm)

    def behind(self, norm: RunningNorm) -> NumpyLayers:
        """Return these layers for observations that are normalised first."""
        return replace(self, norm=norm)

    def with_constant(self, constant: npt.NDArray[np.float32]) -> NumpyLayers:
        """Return these layers with `constant` appended to each row of outputs."""
        return replace(self, constant=constant)

    @property
    def supported(self) -> bool:
        """Whether every activation has a NumPy form."""
        return all(layer.activation in ACTIVATIONS for layer in self.layers)

    @property
    def structure(self) -> object:
        """All but the numbers; comparable with `==`."""
        shapes = [(layer.weight.shape, layer.activation) for layer in self.layers]
        constant = None if self.constant is None else self.constant.shape
        norm = None if self.norm is None else (self.norm.mean.shape, self.norm.clip, self.norm.epsilon)
        return shapes, constant, norm

    def compile(self) -> Callable[[Array], Array]:
        """Return the forward pass, `[..., inputs]` -> `[..., outputs]`, with all look-ups done."""
        steps = [(layer.weight.T, layer.bias, ACTIVATIONS[layer.activation]) for layer in self.layers]
        constant, norm = self.constant, self.norm

        def forward(x: Array) -> Array:
            if x.dtype != np.float32:
                x = x.astype(np.float32)
            if norm is not None:
                x = norm(x)
            for weight, bias, activation in steps:
                x = x.dot(weight)  # in small products `@` spends longer on preparation
                x += bias
                x = activation(x)
            if constant is not None:
                x = np.concatenate([x, np.broadcast_to(constant, (*x.shape[:-1], constant.size))], axis=-1)
            return x

        return forward
