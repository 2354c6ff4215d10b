"""Modules that follow others at a distance, outside every optimizer.

Source: Lillicrap et al. 2016, https://arxiv.org/abs/1509.02971, Algorithm 1: the soft update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rlmodule_core import MultiAgentRLModule, RLModule
from rlmodule_core.module import State
from rlmodule_core.state import flatten_state, nest_state


class TargetNetworks:
    """A second module for each of those that learn, a copy to begin with.

    It becomes a copy again where somebody else than the learner sets weights: whoever puts a trained policy
    into a module does not mean to have it held near the one that was there before.
    """

    def __init__(self, modules: MultiAgentRLModule, build: Callable[[], MultiAgentRLModule]) -> None:
        self._learning = modules
        self._targets = build()
        self._targets.set_state(modules.get_state())
        self._copies = set(modules)
        self._learned: dict[str, dict[str, Any]] = {}  # the weights of each module as the learner left them
        self.num_updates = 0
        self.remember()

    def __getitem__(self, module_id: str) -> RLModule:
        """Return the target network of a module."""
        return self._targets[module_id]

    def update(self, tau: float) -> None:
        """theta_T <- tau theta + (1 - tau) theta_T, of all numbers that are not counts."""
        new = self._learning.get_state()
        self._targets.set_state(new if tau == 1.0 else mixed_state(new, self._targets.get_state(), tau))
        if tau == 1.0:
            self._copies = set(self._learning)
        self.num_updates += 1

    def is_copy(self, module_id: str) -> bool:
        """Whether a target network is equal to its module, to which `part` was not called since."""
        return module_id in self._copies

    def part(self, module_id: str) -> None:
        """Note that a module took a step, and so is another than its target network."""
        self._copies.discard(module_id)

    def remember(self) -> None:
        """Note the weights that the modules have now, for `copy_what_was_set`."""
        self._learned = {key: flatten_state(module.get_state()) for key, module in self._learning.items()}

    def copy_what_was_set(self) -> None:
        """Let the target networks of modules be copies whose weights are not those that were noted."""
        for key, module in self._learning.items():
            state = module.get_state()
            if not _are_equal(flatten_state(state), self._learned.get(key, {})):
                self._targets[key].set_state(state)
                self._copies.add(key)

    def add(self, module_id: str, target: RLModule) -> None:
        """Let a target network follow a module that joins later; it becomes a copy."""
        self._targets.add_module(module_id, target)
        target.set_state(self._learning[module_id].get_state())
        self._copies.add(module_id)

    def remove(self, module_id: str) -> None:
        """Forget a module's target network."""
        self._targets.remove_module(module_id)
        self._copies.discard(module_id)
        self._learned.pop(module_id, None)

    def get_state(self) -> dict[str, Any]:
        """Return the weights."""
        return {
            "modules": self._targets.get_state(),
            "copies": sorted(self._copies),
            "num_updates": self.num_updates,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned, after the modules were set."""
        self._targets.set_state(state["modules"])
        self._copies = set(state["copies"])
        self.num_updates = state["num_updates"]
        self.remember()


def _are_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(value, other[name], equal_nan=True) for name, value in one.items()
    )


def mixed_state(new: State, old: State, tau: float) -> State:
    """Return `tau new + (1 - tau) old` of two equal trees; what is no floating-point number is the new one.

    >>> mixed_state({"w": np.ones(1), "n": np.array(3)}, {"w": np.zeros(1), "n": np.array(0)}, 0.25)
    {'w': array([0.25]), 'n': array(3)}
    """
    old_flat = flatten_state(old)
    return nest_state(
        {name: _mixed(value, old_flat[name], tau) for name, value in flatten_state(new).items()}
    )


def _mixed(new: Any, old: Any, tau: float) -> Any:
    if not np.issubdtype(new.dtype, np.floating):
        return new
    return (tau * new + (1.0 - tau) * old).astype(new.dtype)
