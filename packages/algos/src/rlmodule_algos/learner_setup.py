"""From a config to what learns: in this process, or with gradients from learners in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.execution import LearnerGroup, LearnerTolerance
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import Gradients, Learner, OptimizerSettings, ParallelLearner
from rlmodule_algos.module_setup import ModuleSetup
from rlmodule_algos.sampling import Spaces
from rlmodule_algos.settings import ConfigError
from rlmodule_core import MultiAgentRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.catalog_protocol import CatalogClass

MakeLoss = Callable[[RLModule, Any, Framework], Any]
"""(module, config, framework) -> loss of the module, a function of (minibatch, coefficients)."""


@dataclass(frozen=True)
class MakeLearnerSetup:
    """Makes a `LearnerSetup` in another process."""

    config: AlgorithmConfig  # not frozen, as what it is frozen with cannot be pickled
    agents: Mapping[str, Spaces]
    default_module_class: type[RLModule]
    default_catalog_class: CatalogClass
    make_loss: MakeLoss

    def __call__(self, seed: int) -> LearnerSetup:
        """Make it."""
        return LearnerSetup(self, seed)


class LearnerSetup:
    """Modules and their losses, on the device that the config says."""

    def __init__(self, made_by: MakeLearnerSetup, seed: int) -> None:
        self._config, self._make_loss = made_by.config, made_by.make_loss
        self.framework = Framework(self._config.framework_name)
        self.framework.bridge.seed(seed)
        self._setup = ModuleSetup(
            self._config, made_by.agents, made_by.default_module_class, made_by.default_catalog_class
        )
        with self.framework.bridge.on_device(self._config.device):
            self.modules = self._setup.build()

    def build_module(self, module_id: str, spec: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins later."""
        with self.framework.bridge.on_device(self._config.device):
            return self._setup.build_one(module_id, spec)

    def make_loss(self, module: RLModule) -> Any:
        """Return the loss of one module."""
        return self._make_loss(module, self._config, self.framework)


def make_learner(
    make: MakeLearnerSetup, modules: MultiAgentRLModule, framework: Framework, seed: int
) -> Learner:
    """Return what trains the modules. Raises ConfigError for `policies_to_train` that are none of them."""
    config = make.config
    settings = OptimizerSettings(config.adam_epsilon, config.grad_clip, config.grad_clip_by)
    trained = list(modules if config.policies_to_train is None else config.policies_to_train)
    if unknown := sorted(set(trained) - set(modules)):
        raise ConfigError(
            f"multi_agent: policies_to_train: {unknown} are none of the modules {sorted(modules)}"
        )

    def loss_factory(module: RLModule) -> Any:
        return make.make_loss(module, config, framework)

    if not config.num_learners:
        return Learner(modules, loss_factory, framework, settings, trained=trained, seed=seed)
    gradients = make_gradients(make, seed)
    try:
        return ParallelLearner(
            modules, loss_factory, framework, settings, gradients, trained=trained, seed=seed
        )
    except BaseException:
        gradients.close()
        raise


def make_gradients(make: MakeLearnerSetup, seed: int) -> Gradients:
    """Start the learners in other processes."""
    from rlmodule_algos.execution.ray_pool import RayLearnerEngine

    config = make.config
    engine = RayLearnerEngine(
        make, num_learners=config.num_learners, device=config.device, address=config.ray_address
    )
    tolerance = LearnerTolerance(config.max_failures_in_a_row, config.start_timeout_s, config.learn_timeout_s)
    return LearnerGroup(engine, config.num_learners, tolerance, seed)
