"""Containers of TensorFlow modules keep the whole contract of containers, also where modules share parts."""

from __future__ import annotations

from gymnasium import spaces

from rlmodule_core import MultiAgentRLModule, MultiAgentRLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_core.testing import MultiAgentConformance
from rlmodule_tf.bc_module import DiscreteBCTfModule

RECIPE = SingleAgentRLModuleSpec(
    module_class=DiscreteBCTfModule,
    observation_space=spaces.Box(-1, 1, (4,)),
    action_space=spaces.Discrete(3),
    model_config_dict={"fcnet_hiddens": [8]},
)
CONFIG = MultiAgentRLModuleConfig(modules={"a": RECIPE, "b": RECIPE, "c": RECIPE})


class Sharing(MultiAgentRLModule):
    """`a` and `c` are of one policy."""

    def build(self) -> None:
        super().build()
        self._rl_modules["c"].policy = self._rl_modules["a"].policy  # type: ignore[attr-defined]


class TestPlain(MultiAgentConformance):
    def make_modules(self) -> MultiAgentRLModule:
        return MultiAgentRLModule(CONFIG)


class TestSharing(MultiAgentConformance):
    def make_modules(self) -> MultiAgentRLModule:
        return Sharing(CONFIG)
