"""Encoders and heads. Weights are `[outputs, inputs]`; their names are the same in every framework."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from rlmodule_core import (
    ActorCriticEncoderConfig,
    DenseLayer,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NumpyLayers,
)
from rlmodule_core.initializers import current_generator, initial_weights
from rlmodule_core.nest import Nest

Activation = Callable[[Tensor], Tensor]
NORM_EPSILON = 1e-5  # added to the variance by every layer norm


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
    """Base of the layers here: none of them by itself computes anything else in training than in use."""

    mode_free = True

    def initial_state(self) -> dict[str, Any]:
        """Return the state that an episode starts from, NumPy arrays without batch axis; `{}`: no memory."""
        return {}


class TorchMLPEncoder(TorchLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: dense layers, each with its norm and its activation."""

    def __init__(self, config: MLPEncoderConfig) -> None:
        super().__init__()
        settings: dict[str, Any] = {"gain": config.gain, "initializer": config.initializer}
        sizes = [config.input_dim, *config.hidden]
        self.layers = nn.ModuleList(dense(*ends, **settings) for ends in pairwise(sizes))
        normed = config.hidden if config.layer_norm else ()
        self.norms = nn.ModuleList(nn.LayerNorm(size, eps=NORM_EPSILON) for size in normed)
        self.activation_name = config.activation
        self._activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch; numbers of any kind are taken as the kind of the weights."""
        x = x.to(cast(Tensor, self.layers[0].weight).dtype) if self.layers else x.float()
        if self.norms:
            for layer, norm in zip(self.layers, self.norms, strict=True):
                x = self._activation(norm(layer(x)))
            return x
        for layer in self.layers:
            x = self._activation(layer(x))
        return x

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights; None where that cannot be."""
        if type(self).forward is not TorchMLPEncoder.forward or self.norms:
            return None
        return numpy_layers(self.layers, [self.activation_name] * len(self.layers))


class TorchActorCriticEncoder(TorchLayer):
    """Called with an observation, returns (features of the actor, features of the critic).

    Encoders with a memory, which have an `initial_state`, are called with a state too, and then the
    state behind the last step comes third.
    """

    def __init__(self, config: ActorCriticEncoderConfig) -> None:
        super().__init__()
        self.actor: nn.Module = config.base.build("torch")
        # None: the actor's features serve both
        self.critic: nn.Module | None = None if config.shared else config.base.build("torch")

    def initial_state(self) -> dict[str, Any]:
        """Return `{"actor": state, "critic": state}` of those with a memory; NumPy, no batch axis."""
        states = {name: initial_state(part) for name, part in self._parts().items()}
        return {name: state for name, state in states.items() if state}

    def forward(
        self,
        obs: Nest,
        state: Nest = None,
        mask: Tensor | None = None,
        is_first: Tensor | None = None,
    ) -> tuple[Any, ...]:
        """Encode for both; a shared encoder runs once. For `mask` and `is_first` see the recurrent one."""
        if not state:
            features = self.actor(obs)
            return features, features if self.critic is None else self.critic(obs)
        found, after = {}, {}
        for name, part in self._parts().items():
            if name in state:
                found[name], after[name] = part(obs, state[name], mask, is_first)
            else:
                found[name] = part(obs)
        return found["actor"], found.get("critic", found["actor"]), after

    def actor_features(self, obs: Nest) -> Tensor:
        """Encode for the actor alone, as acting without a memory needs no value."""
        features: Tensor = self.actor(obs)
        return features

    def _parts(self) -> dict[str, nn.Module]:
        return {"actor": self.actor} if self.critic is None else {"actor": self.actor, "critic": self.critic}


class TorchMLPHead(TorchLayer):
    """`[..., input_dim]` -> `[..., output_dim]`: hidden layers with the activation, a linear one last."""

    def __init__(self, config: MLPHeadConfig) -> None:
        super().__init__()
        name, sizes = config.initializer, [config.input_dim, *config.hidden]
        hidden = [dense(*ends, gain=math.sqrt(2.0), initializer=name) for ends in pairwise(sizes)]
        last = dense(sizes[-1], config.output_dim, gain=config.gain, initializer=name)
        self.layers = nn.ModuleList([*hidden, last])
        self.activation_name = config.activation
        self._activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map features to outputs; features of any kind are taken as the kind of the weights."""
        *hidden, last = self.layers  # a slice would make a new ModuleList at every call
        x = x.to(cast(Tensor, last.weight).dtype)
        for layer in hidden:
            x = self._activation(layer(x))
        outputs: Tensor = last(x)
        return outputs

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights; None where that cannot be."""
        if type(self).forward is not TorchMLPHead.forward:
            return None
        hidden = len(self.layers) - 1
        return numpy_layers(self.layers, [self.activation_name] * hidden + ["linear"])


class TorchFreeLogStdHead(TorchLayer):
    """Means from the features; the log-std is a vector of weights that no input changes."""

    def __init__(self, config: FreeLogStdHeadConfig) -> None:
        super().__init__()
        self.mean = TorchMLPHead(config.mean)
        self.log_std = nn.Parameter(torch.zeros(config.output_dim // 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[mean, log_std]`, `[..., output_dim]`."""
        mean = self.mean(x)
        return torch.cat([mean, self.log_std.expand_as(mean)], dim=-1)

    def numpy_layers(self) -> NumpyLayers | None:
        """Return the same layers over the very memory of these weights; None where that cannot be."""
        if type(self).forward is not TorchFreeLogStdHead.forward:
            return None
        layers = self.mean.numpy_layers()
        return layers and layers.with_constant(self.log_std.detach().numpy())


def initial_state(layer: Any) -> dict[str, Any]:
    """Return the state that a layer starts from, `{}` for one without a memory."""
    make = getattr(layer, "initial_state", None)
    return {} if make is None else make()


def generator() -> np.random.Generator:
    """Return what initial weights are drawn from; torch's seed decides unless one was given."""
    rng = current_generator()
    return np.random.default_rng(int(torch.randint(2**62, (), device="cpu"))) if rng is None else rng


def parameter(array: np.ndarray[Any, Any]) -> nn.Parameter:
    """Return an array as a parameter of the default dtype, on the default device."""
    return nn.Parameter(torch.tensor(array, dtype=torch.get_default_dtype()))


def dense(inputs: int, outputs: int, *, gain: float, initializer: str = "orthogonal") -> nn.Linear:
    """Make a linear layer with weights by the name of an initializer and zero biases."""
    # On "meta" it draws nothing; skip_init, made for this, would import a symbolic algebra system, 40 MB.
    layer = nn.Linear(inputs, outputs, device="meta")
    layer.weight = parameter(initial_weights(initializer, generator(), (outputs, inputs), gain=gain))
    layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer


def _changed_here(layer: nn.Module) -> bool:
    """Whether a layer does something else than its class: by hooks, or a forward of its own."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks or "forward" in vars(layer))


def numpy_layers(layers: nn.ModuleList, activations: Sequence[str]) -> NumpyLayers | None:
    """Return NumPy layers that share the memory of linear ones, or None where that cannot be."""
    found = []
    for layer, activation in zip(layers, activations, strict=True):
        if type(layer) is not nn.Linear or _changed_here(layer):
            return None
        if layer.bias is None or layer.weight.device.type != "cpu" or layer.weight.dtype is not torch.float32:
            return None
        found.append(DenseLayer(layer.weight.detach().numpy(), layer.bias.detach().numpy(), activation))
    return NumpyLayers(tuple(found))
