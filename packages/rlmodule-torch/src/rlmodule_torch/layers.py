"""Encoders and heads. Weights are `[outputs, inputs]`; their names are the same in every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from rlmodule_core import DenseLayer, NumpyLayers
from rlmodule_core.initializers import current_generator, orthogonal

Activation = Callable[[Tensor], Tensor]


def linear(x: Tensor) -> Tensor:
    """Return the argument; a function with a name, so that layers can be pickled."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "elu": nn.functional.elu,
    "gelu": nn.functional.gelu,
    "leaky_relu": nn.functional.leaky_relu,
    "linear": linear,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}


class TorchLayer(nn.Module):
    """Base of the layers below: none of them computes anything else in training than in use."""

    mode_free = True


class TorchMLPEncoder(TorchLayer):
    """`[..., input_dim]` -> `[..., hidden[-1]]`, every layer followed by the activation."""

    def __init__(self, input_dim: int, hidden: Sequence[int], activation: str, gain: float) -> None:
        super().__init__()
        sizes = [input_dim, *hidden]
        self.layers = nn.ModuleList(dense(inputs, outputs, gain=gain) for inputs, outputs in pairwise(sizes))
        self.activation_name = activation
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch; numbers of any kind are taken as the kind of the weights."""
        x = x.to(cast(Tensor, self.layers[0].weight).dtype) if self.layers else x.float()
        for layer in self.layers:
            x = self._activation(layer(x))
        return x

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights."""
        if type(self).forward is not TorchMLPEncoder.forward:
            return None
        return numpy_layers(self.layers, [self.activation_name] * len(self.layers))


class TorchActorCriticEncoder(TorchLayer):
    """Called with an observation, returns (features of the actor, features of the critic)."""

    def __init__(self, actor: nn.Module, critic: nn.Module | None) -> None:
        super().__init__()
        self.actor = actor
        self.critic = critic  # None: the actor's features serve both

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Encode for both; a shared encoder runs once."""
        features = self.actor(obs)
        return features, features if self.critic is None else self.critic(obs)

    def actor_features(self, obs: Tensor) -> Tensor:
        """Encode for the actor alone, as acting needs no value."""
        features: Tensor = self.actor(obs)
        return features


class TorchMLPHead(TorchLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: hidden layers with the activation, a linear one last."""

    def __init__(
        self, input_dim: int, output_dim: int, hidden: Sequence[int], activation: str, gain: float
    ) -> None:
        super().__init__()
        sizes = [input_dim, *hidden]
        self.layers = nn.ModuleList(
            dense(inputs, outputs, gain=math.sqrt(2.0)) for inputs, outputs in pairwise(sizes)
        )
        self.layers.append(dense(sizes[-1], output_dim, gain=gain))
        self.activation_name = activation
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map features to outputs."""
        *hidden, last = self.layers  # a slice would make a new ModuleList at every call
        for layer in hidden:
            x = self._activation(layer(x))
        outputs: Tensor = last(x)
        return outputs

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights."""
        if type(self).forward is not TorchMLPHead.forward:
            return None
        hidden = len(self.layers) - 1
        return numpy_layers(self.layers, [self.activation_name] * hidden + ["linear"])


class TorchFreeLogStdHead(TorchLayer):
    """Means from the features; the log-std is a vector of weights that no input changes."""

    def __init__(
        self, input_dim: int, output_dim: int, hidden: Sequence[int], activation: str, gain: float
    ) -> None:
        super().__init__()
        self.mean = TorchMLPHead(input_dim, output_dim // 2, hidden, activation, gain)
        self.log_std = nn.Parameter(torch.zeros(output_dim // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[mean, log_std]`, `[..., output_dim]`."""
        mean = self.mean(x)
        return torch.cat([mean, self.log_std.expand_as(mean)], dim=-1)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights."""
        if type(self).forward is not TorchFreeLogStdHead.forward:
            return None
        layers = self.mean.numpy_layers()
        return layers and layers.with_constant(self.log_std.detach().numpy())


def dense(inputs: int, outputs: int, *, gain: float) -> nn.Linear:
    """Make a linear layer with orthogonal weights and zero biases."""
    # On "meta" it draws nothing; skip_init, made for this, would import a symbolic algebra system, 40 MB.
    layer = nn.Linear(inputs, outputs, device="meta")
    rng = current_generator()
    if rng is None:  # then the user's torch.manual_seed decides
        rng = np.random.default_rng(int(torch.randint(2**62, (), device="cpu")))
    weight = torch.tensor(orthogonal(rng, outputs, inputs, gain=gain), dtype=torch.get_default_dtype())
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(outputs))
    return layer


def numpy_layers(layers: nn.ModuleList, activations: Sequence[str]) -> NumpyLayers | None:
    """Return NumPy layers that share the memory of linear ones, or None where that cannot be."""
    found = []
    for layer, activation in zip(layers, activations, strict=True):
        if type(layer) is not nn.Linear or layer._forward_pre_hooks or layer._forward_hooks:
            return None
        if layer.bias is None or layer.weight.device.type != "cpu" or layer.weight.dtype is not torch.float32:
            return None
        found.append(DenseLayer(layer.weight.detach().numpy(), layer.bias.detach().numpy(), activation))
    return NumpyLayers(tuple(found))
