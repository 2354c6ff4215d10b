"""Which layers compute differently in training, and whether some came in since one looked."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Self

from torch import nn
from torch.compiler import is_compiling

_MODE_FREE_NAMES = (
    "Sequential ModuleList ModuleDict ParameterList ParameterDict Identity Flatten Unflatten "
    "Linear Bilinear Embedding EmbeddingBag LayerNorm GroupNorm RMSNorm LocalResponseNorm "
    "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d "
    "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
    "AdaptiveAvgPool1d AdaptiveAvgPool2d ZeroPad1d ZeroPad2d Upsample PixelShuffle "
    "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
    "PReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmin Softplus Softshrink Softsign Tanh Tanhshrink "
    "Threshold"
)
_MODE_FREE = frozenset(getattr(nn, name) for name in _MODE_FREE_NAMES.split())
_mode_of = itemgetter("training")

_Modes = list[tuple[dict[str, Any], bool]]  # of layers, by their `vars`


class _Switchable(nn.Module):
    """Remembers which modes `train()` and `eval()` found, so that a forward that calls them costs no other.

    A forward switches only the layers that care, and could not tell otherwise how it found the rest.
    """

    _seen: _Seen | None = None

    def train(self, mode: bool = True) -> Self:
        """Put all layers in train mode, or with False in eval mode."""
        seen = None if is_compiling() else self._seen
        if seen is not None and seen.found is None:
            seen.found = [(vars(layer), layer.training) for layer in self.modules()]
        return super().train(mode)


def _put_back(modes: _Modes) -> None:
    for part, mode in modes:
        part["training"] = mode


class _Seen:
    """The layers of a module as they were when one looked.

    Layers can be put in anywhere below without their owner's knowledge (`Sequential.insert` calls no hook),
    so each call asks again: by identity, in a fraction of a microsecond. (No tuple, as torch.export walks
    through those.)
    """

    def __init__(self, owner: nn.Module) -> None:
        layers = list(owner.modules())
        below = [vars(layer)["_modules"] for layer in layers if "_modules" in vars(layer)]  # not of scripts
        switched = {id(layer): layer for layer in layers if layer is owner or _depends_on_mode(layer)}
        others = [layer for layer in layers if id(layer) not in switched]
        hooks = [hooks for layer in others for hooks in (layer._forward_pre_hooks, layer._forward_hooks)]
        self.empty = [part for part in below if not part] + hooks  # what has no content yet
        self.held = [part for part in below if part]  # the layers below the others, as they are
        self.held_then = [dict(part) for part in self.held]  # the same now
        self.switched = [
            vars(layer) for layer in switched.values()
        ]  # where the mode matters; the owner first
        self.found: _Modes | None = None  # of all layers, before a forward that runs called train() or eval()
        self.own_way = any(map(_switches_its_own_way, layers))  # whether by somebody's own train()


_PLAIN_TRAINS = (nn.Module.train, _Switchable.train)


def _depends_on_mode(layer: nn.Module) -> bool:
    """Whether train() and eval() may differ for a layer; a class or a hook that we do not know may care."""
    known = type(layer) in _MODE_FREE or getattr(layer, "mode_free", False)
    own_forward = "forward" in vars(layer)
    return not known or own_forward or bool(layer._forward_pre_hooks or layer._forward_hooks)


def _switches_its_own_way(layer: nn.Module) -> bool:
    """Whether more than a flag of Python's is to be set: by an own train(), or in a script's own memory."""
    own = vars(layer)
    return type(layer).train not in _PLAIN_TRAINS or "train" in own or "training" not in own
