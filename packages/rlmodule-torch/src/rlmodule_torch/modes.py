"""Which layers compute differently in training, and whether some came in since one looked."""

from __future__ import annotations

from torch import nn

_MODE_FREE = (
    nn.ModuleList,
    nn.ModuleDict,
    nn.Sequential,
    nn.Linear,
    nn.Conv2d,
    nn.Embedding,
    nn.LayerNorm,
    nn.Flatten,
    nn.Identity,
    nn.ReLU,
    nn.Tanh,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.LeakyReLU,
)


def _depends_on_mode(module: nn.Module) -> bool:
    """Whether train() and eval() may differ for a layer; a class or a hook that we do not know may care."""
    known = type(module) in _MODE_FREE or getattr(module, "mode_free", False)
    return not known or bool(module._forward_pre_hooks or module._forward_hooks)


_registrations = [0]  # counts the layers that were put into any module: a change here may be one there


def _count(module: nn.Module, name: str, layer: nn.Module | None) -> None:
    _registrations[0] += 1


nn.modules.module.register_module_module_registration_hook(_count)
