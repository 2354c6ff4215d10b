"""The contract of RLModule as tests that any implementation can run.

Subclass `RLModuleConformance` in a test file and say how to make your module; pytest does the rest::

    class TestMine(RLModuleConformance):
        def make_module(self) -> RLModule:
            return MyModule(RLModuleConfig(observation_space=..., action_space=...))

`MultiAgentConformance` is the same for a container of modules, which `make_modules` returns.

Whatever fails names the promise that is broken. Nothing here needs a test library.
"""

from __future__ import annotations

from rlmodule_core.overrides import PHASES
from rlmodule_core.testing.containers import MultiAgentConformance
from rlmodule_core.testing.forwards import ForwardPromises
from rlmodule_core.testing.making import ACTING, refused
from rlmodule_core.testing.sequences import SequencePromises
from rlmodule_core.testing.surroundings import SurroundingPromises
from rlmodule_core.testing.weights import WeightPromises

__all__ = ["ACTING", "PHASES", "MultiAgentConformance", "RLModuleConformance", "refused"]


class RLModuleConformance(ForwardPromises, SequencePromises, WeightPromises, SurroundingPromises):
    """Override `make_module`, and `make_batch` if the module takes more than observations of its space.

    Two modules that `make_module` makes should start with different weights, or take a state that
    makes them equal; `tolerance` is how far outputs may differ that should be the same. `saves = False` says
    that no checkpoint can be written of it.
    """
