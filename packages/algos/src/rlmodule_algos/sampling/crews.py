"""Which modules act together: small dense ones of equal structure in one pass, any other by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor, Draw
from rlmodule_core import NumpyPolicies, NumpyPolicy, RLModule, can_act_together

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]


class JointActor:
    """Acts with policies as their weights are when this is made."""

    def __init__(self, policies: Sequence[NumpyPolicy], rng: np.random.Generator) -> None:
        self._policies = NumpyPolicies(policies)
        self._rng = rng

    def act(self, obs: Array, policy_of: IntArray, *, explore: bool) -> Draw:
        """Return actions for observations `[N, ...]`, each by the policy of its number."""
        flat = self._policies.action_dist(obs, policy_of)
        actions = flat.sample(self._rng) if explore else flat.to_deterministic().sample()
        return Draw(actions, flat, None)


class Crews:
    """Every module, by a number of its own, in exactly one crew."""

    def __init__(self, modules: Mapping[int, RLModule], bridge: Bridge, rng: np.random.Generator) -> None:
        forms = {number: module.numpy_form() or module for number, module in modules.items()}
        self.members: list[list[int]] = _alike(forms)
        """The numbers of the modules of each crew."""
        self.actors: list[Actor | JointActor] = []
        size = max(modules, default=-1) + 1
        self.crew_of: IntArray = np.full(size, -1)  # by the number of a module
        self.place_of: IntArray = np.zeros(size, np.int64)  # in its crew
        for crew, members in enumerate(self.members):
            self.crew_of[members], self.place_of[members] = crew, np.arange(len(members))
            policies = [form for form in map(forms.__getitem__, members) if isinstance(form, NumpyPolicy)]
            alone = len(members) == 1
            actor = Actor(forms[members[0]], bridge, rng) if alone else JointActor(policies, rng)
            self.actors.append(actor)


def _alike(forms: Mapping[int, RLModule]) -> list[list[int]]:
    """Return the numbers of modules that can act together, and those of any other alone."""
    crews: list[list[int]] = []
    for number, form in forms.items():
        crew = next((crew for crew in crews if can_act_together(forms[crew[0]], form)), None)
        if crew is None:
            crews.append([number])
        else:
            crew.append(number)
    return crews
