"""From a config to a runner with modules of its own, wherever that is."""

from __future__ import annotations

from dataclasses import dataclass

from gymnasium.envs.registration import EnvSpec

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import make_env, register_missing
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.module_setup import ModuleSetup, policy_mapping
from rlmodule_algos.sampling import PolicyMapping, make_world
from rlmodule_core import RLModule, SingleAgentRLModuleSpec
from rlmodule_core.catalog_protocol import CatalogClass

DEVICE = "cpu"  # acting is too small a computation to be worth a transfer, and runners would share a GPU


class RunnerSetup:
    """Environments, modules of their own, and the runner that acts with them."""

    def __init__(
        self,
        config: AlgorithmConfig,
        default_module_class: type[RLModule],
        default_catalog_class: CatalogClass,
        seed: int,
    ) -> None:
        if config.env is None:
            raise ValueError("RunnerSetup: the config names no environment")
        self.bridge = Framework(config.framework_name).bridge
        self.bridge.seed(seed)
        self.trained: tuple[str, ...] = ()
        self.map_with(config.policy_mapping_fn)
        env = make_env(config.env, config.env_config, config.num_envs_per_env_runner)
        world = make_world(env, lambda agent: self._mapping(agent))
        try:
            self._setup = ModuleSetup(config, world.agents, default_module_class, default_catalog_class)
            with self.bridge.on_device(DEVICE):
                self.modules = self._setup.build()
            self.runner = world.runner(self.modules, self.bridge, learns=lambda: self.trained, seed=seed)
        except BaseException:
            world.close()
            raise

    def map_with(self, policy_mapping_fn: PolicyMapping | None) -> None:
        """Let agents be mapped with another function from their next episode on."""
        self._mapping = policy_mapping(policy_mapping_fn)

    def build_module(self, module_id: str, spec: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins later."""
        with self.bridge.on_device(DEVICE):
            return self._setup.build_one(module_id, spec)


@dataclass(frozen=True)
class MakeRunnerSetup:
    """Makes a `RunnerSetup` in another process."""

    config: AlgorithmConfig  # not frozen, as what it is frozen with cannot be pickled
    default_module_class: type[RLModule]
    default_catalog_class: CatalogClass
    registered: tuple[EnvSpec, ...]  # what the environment's id stands for

    def __call__(self, seed: int) -> RunnerSetup:
        """Make it."""
        register_missing(self.registered)
        return RunnerSetup(self.config, self.default_module_class, self.default_catalog_class, seed)
