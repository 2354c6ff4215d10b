"""What a module is made of, and whether layers came in since one looked."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import Any

from torch import nn

_EXTENSIBLE = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_modules_of = itemgetter("_modules")


class _Layers:
    """All layers of a module, itself the first, as they were when one looked.

    Layers can be put in anywhere below without their owner's knowledge (`Sequential.insert` calls no hook),
    so each call asks again: by identity, in a fraction of a microsecond.
    """

    def __init__(self, owner: nn.Module) -> None:
        layers = list(owner.modules())
        self.parts = [vars(layer) for layer in layers]
        self.own_way = any(_switches_its_own_way(layer) for layer in layers)
        plain = [layer for layer in layers if isinstance(vars(layer).get("_modules"), dict)]
        holders = [layer for layer in plain if layer._modules or isinstance(layer, _EXTENSIBLE)]
        self._holders = [vars(layer) for layer in holders]  # del seq[0] makes seq._modules a new dict
        self._held = self._now_held()
        self._empty = [layer._modules for layer in plain if layer not in holders]

    def changed(self) -> bool:
        """Whether one of them holds other layers now."""
        return any(self._empty) or self._now_held() != self._held

    def _now_held(self) -> list[Any]:
        return [*chain.from_iterable(map(dict.values, map(_modules_of, self._holders)))]


def _switches_its_own_way(layer: nn.Module) -> bool:
    """Whether more than a flag of Python's is to be set: by an own train(), or in a script's own memory."""
    own = vars(layer)
    return type(layer).train is not nn.Module.train or "train" in own or "training" not in own
