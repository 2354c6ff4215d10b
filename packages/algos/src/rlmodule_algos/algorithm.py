"""The loop that all algorithms share: learn, report, evaluate, save."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import make_env
from rlmodule_algos.evaluating import Evaluator
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learner_setup import MakeLearnerSetup, make_learner
from rlmodule_algos.module_setup import ModuleSetup, policy_mapping
from rlmodule_algos.policy import Policy
from rlmodule_algos.reporting import Counts, Result, training_result
from rlmodule_algos.sampling import Episodes, World, action_filter, make_world
from rlmodule_algos.saving import (
    algorithm_from_checkpoint,
    restore_algorithm_state,
    save_algorithm_state,
)
from rlmodule_algos.settings import ConfigError
from rlmodule_core import (
    DEFAULT_MODULE_ID,
    RLModule,
    SingleAgentRLModuleSpec,
    initial_weights_from,
)
from rlmodule_core.catalog_protocol import CatalogClass
from rlmodule_core.nest import Nest

SMALL_BATCH = 1024  # rows; below it a second thread costs a small network more than it gives

Config = TypeVar("Config", bound=AlgorithmConfig)


class Algorithm(abc.ABC, Generic[Config]):
    """An algorithm in progress. `config.build()` makes one; use it in a `with`, or call `stop()`."""

    name: ClassVar[str]
    config_class: ClassVar[type[AlgorithmConfig]]
    default_catalog_class: ClassVar[CatalogClass]

    def __init__(self, config: Config) -> None:
        config.validate()
        self.config: Config = config.copy().freeze()
        self.framework = Framework(config.framework_name)
        env_seed, weight_seed, learner_seed, evaluation_seed, policy_seed = _seeds(config.seed, 5)
        if config.seed is not None:
            self.framework.bridge.seed(config.seed)
        self._weights_rng = np.random.default_rng(weight_seed)
        self._policy_rng = np.random.default_rng(policy_seed)  # of what `get_policy` returns
        self._evaluator = Evaluator(self._make_world, evaluation_seed)
        world = self._make_world(config.num_envs_per_env_runner)
        try:
            self._setup = ModuleSetup(
                self.config, world.agents, self._default_module_class(), self.default_catalog_class
            )
            with self.framework.bridge.on_device(config.device), initial_weights_from(self._weights_rng):
                self.modules = self._setup.build()
            self.learner = make_learner(
                self._learner_recipe(world), self.modules, self.framework, learner_seed
            )
            try:
                self._start(world, env_seed)
            except BaseException:
                self.learner.close()
                raise
        except BaseException:
            world.close()
            raise
        self.iteration = 0
        self._seconds = 0.0  # in train(), over the life of the run
        self._timers: dict[str, float] = {}
        self._stopped = False

    # --- what an algorithm adds ---------------------------------------------------------------

    @abc.abstractmethod
    def training_step(self) -> dict[str, dict[str, float]]:
        """Sample, learn, and return `{module id: results}`."""

    @abc.abstractmethod
    def _start(self, world: World, seed: int) -> None:
        """Take over the environments that the spaces were read from: sample in them, or close them."""

    @property
    @abc.abstractmethod
    def env_steps(self) -> int:
        """Environment steps that the run has learned from, over its life; schedules follow it."""

    @property
    @abc.abstractmethod
    def episodes(self) -> Episodes:
        """The episodes that were sampled to learn from."""

    @classmethod
    @abc.abstractmethod
    def make_loss(cls, module: RLModule, config: Config, framework: Framework) -> Any:
        """Return the loss of one module, a function of (minibatch, coefficients): a mean over steps."""

    def _default_module_class(self) -> type[RLModule]:
        part = self.framework.algorithm_part(self.name, "module")
        default: type[RLModule] = part.DEFAULT_MODULE
        return default

    def _learner_recipe(self, world: World) -> MakeLearnerSetup:
        module_class, catalog_class = self._default_module_class(), self.default_catalog_class
        config, agents = self.config.copy(), dict(world.agents)
        return MakeLearnerSetup(config, agents, module_class, catalog_class, self.make_loss)

    def _make_world(self, num_envs: int) -> World:
        config = self.config
        if config.env is None:  # validate() refused it
            raise ConfigError("no environment")
        mapping = policy_mapping(config.policy_mapping_fn)  # before there are environments to close
        return make_world(make_env(config.env, config.env_config, num_envs), mapping)

    def _few_threads(self) -> AbstractContextManager[None]:
        """Compute with one thread inside if batches are small."""
        return self.framework.bridge.threads(1 if self.config.rows_of_a_step <= SMALL_BATCH else None)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Report the seconds spent inside as `timers/<name>`."""
        begin = perf_counter()
        yield
        self.add_seconds(name, perf_counter() - begin)

    def add_seconds(self, name: str, seconds: float) -> None:
        """Report seconds as part of `timers/<name>`."""
        self._timers[name] = self._timers.get(name, 0.0) + seconds

    # --- the run ------------------------------------------------------------------------------

    def train(self) -> Result:
        """Run one iteration and return what happened in it.

        The keys are always the same, but for `evaluation` in the iterations that evaluate and `checkpoint`,
        a path, in those that save; statistics of episodes are NaN until the first one ends.
        Raises RuntimeError after `stop()`.
        """
        if self._stopped:
            raise RuntimeError("train: this algorithm was stopped; build another and restore a checkpoint")
        begin = perf_counter()
        before, self._timers = Counts.of(self.episodes), {}
        with self._few_threads():
            learned = self.training_step()
        self.iteration += 1
        seconds = perf_counter() - begin
        self._seconds += seconds
        result = training_result(
            iteration=self.iteration,
            seconds_total=self._seconds,
            episodes=self.episodes,
            before=before,
            learners=learned,
            timers={**self._timers, "iteration_s": seconds},
        )
        if health := self.learner.health():
            result["fault_tolerance"] = health
        interval = self.config.evaluation_interval
        if interval is not None and self.iteration % interval == 0:
            result.update(self.evaluate())
        saving, folder = self.config.checkpoint_interval, self.config.checkpoint_dir
        if saving is not None and folder is not None and self.iteration % saving == 0:
            result["checkpoint"] = str(self.save(folder))
        return result

    def evaluate(self, num_episodes: int | None = None, *, explore: bool = False) -> Result:
        """Play whole episodes in environments of their own; greedy, unless `explore`.

        Training is not disturbed: no state, counter or generator of it is touched. (A distribution of
        the framework's own draws from the framework's generator, so with `explore` it moves that.)
        """
        wanted = self.config.evaluation_duration if num_episodes is None else num_episodes
        with self._few_threads():
            return self._evaluator.play(self.modules, self.framework.bridge, wanted, explore=explore)

    def compute_single_action(
        self, obs: Nest, state: Nest = None, *, policy_id: str = DEFAULT_MODULE_ID, explore: bool = False
    ) -> Nest:
        """Return the action for one observation, as the environment takes it.

        With the state of a stateful module: the triple (action, state after it, extra), as
        `Policy.compute_single_action` returns. Without one, a stateful module starts afresh.
        """
        computed = self.get_policy(policy_id).compute_single_action(obs, state, explore)
        config = self.get_module(policy_id).config
        action = computed.actions if config is None else action_filter(config.action_space)(computed.actions)
        return action if state is None else computed._replace(actions=action)

    def get_policy(self, policy_id: str = DEFAULT_MODULE_ID) -> Policy:
        """Return a module as a policy; KeyError that lists the ids for an unknown one.

        What it draws follows from the run's seed, and from how many policies were asked for before.
        """
        return Policy(self.get_module(policy_id), seed=int(self._policy_rng.integers(2**31)))

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on; `policy_mapping_fn` says whose it is.

        What the spec leaves open is as for the others. Raises ValueError if the id is taken or none that
        can be saved, spaces are missing, or there is one agent only, before anything is changed.
        """
        self._setup.require_may_join(module_id)
        if module_id in self.modules:
            raise ValueError(
                f"add_module: {module_id!r} is there already; the modules are {sorted(self.modules)}"
            )
        with self.framework.bridge.on_device(self.config.device), initial_weights_from(self._weights_rng):
            module = self._setup.build_one(module_id, module_spec)
        self.modules.add_module(module_id, module)
        self.learner.add(module_id, module_spec)
        return module

    def remove_module(self, module_id: str) -> None:
        """Remove a module; its agents are mapped anew. KeyError that lists the ids for an unknown one.

        Raises ConfigError where there is one agent only.
        """
        self._setup.require_may_leave()
        self.modules.remove_module(module_id)
        self.learner.remove(module_id)

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> RLModule:
        """Return a module; KeyError that lists the ids for an unknown one."""
        return self.modules[module_id]

    # --- saving and stopping ------------------------------------------------------------------

    def save(self, directory: str | Path) -> Path:
        """Write `directory/ckpt_<iteration>/`, whole or not at all, and return its path.

        Raises CheckpointError if it cannot be written, or weights are not finite.
        """
        return save_algorithm_state(self, Path(directory))

    def restore(self, directory: str | Path) -> None:
        """Take over a saved state: a checkpoint, or a folder, of which the newest is taken.

        Modules that had joined join here too, with the recipe that they were given; those that had left,
        or joined only here, leave. Raises CheckpointError, and changes nothing, if there is none or it does
        not fit: a module of a class of your own has to join by hand before.
        """
        restore_algorithm_state(self, Path(directory))

    @classmethod
    def from_checkpoint(cls, directory: str | Path, config: AlgorithmConfig | None = None) -> Algorithm[Any]:
        """Make the algorithm that was saved, as it was; `Algorithm.from_checkpoint` makes any.

        `config` is needed only if the one that was saved holds classes or functions (an environment
        class, a module of your own), which are never imported because a file says so.
        """
        return algorithm_from_checkpoint(cls, Path(directory), config)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data."""
        return {
            "iteration": self.iteration,
            "seconds": self._seconds,
            "learner": self.learner.get_state(),
            "evaluations": self._evaluator.num_evaluations,
            "policy_rng": self._policy_rng.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; the environments start anew. See `restore` for a safe way."""
        names = ("iteration", "seconds", "evaluations", "policy_rng")
        iteration, seconds, evaluations, policy_rng = (state[name] for name in names)
        self.learner.set_state(state["learner"])
        self.iteration, self._seconds = iteration, seconds
        self._evaluator.num_evaluations = evaluations
        self._policy_rng.bit_generator.state = policy_rng

    def stop(self) -> None:
        """Release what the run holds; calling it again does nothing."""
        self._stopped = True
        self.learner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _seeds(seed: int | None, count: int) -> list[int]:
    """Independent seeds from one, or from the system's entropy."""
    drawn = np.random.SeedSequence(seed).generate_state(count)
    return [int(number) % 2**31 for number in drawn]
