"""The loop that all algorithms share: sample, learn, report, save."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import EnvStream, make_vector_env
from rlmodule_algos.execution import LocalPool
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import Learner, OptimizerSettings
from rlmodule_algos.module_setup import build_modules
from rlmodule_algos.reporting import Result, evaluation_result, training_result
from rlmodule_algos.sampling import Actor, EnvRunner, Episode, action_filter, evaluate_episodes
from rlmodule_algos.saving import load_algorithm_state, save_algorithm_state
from rlmodule_algos.settings import ConfigError, PositiveInt, mismatch
from rlmodule_core import DEFAULT_MODULE_ID, CheckpointError, RLModule
from rlmodule_core.catalog_protocol import CatalogClass
from rlmodule_core.nest import Nest, map_nest

MAX_PARALLEL_EVALUATION = 32  # episodes played side by side
SMALL_BATCH = 512  # rows; below it a second thread costs a small network more than it gives

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
        env_seed, weight_seed, learner_seed, self._evaluation_seed = _seeds(config.seed, 4)
        if config.seed is not None:
            self.framework.bridge.seed(config.seed)
        stream = self._make_stream(config.num_envs_per_env_runner)
        try:
            with self.framework.bridge.on_device(config.device):
                self.modules = build_modules(
                    self.config,
                    observation_space=stream.env.single_observation_space,
                    action_space=stream.env.single_action_space,
                    default_module_class=self._default_module_class(),
                    default_catalog_class=self.default_catalog_class,
                    seed=weight_seed,
                )
            self.learner = self._make_learner(learner_seed)
        except BaseException:
            stream.close()
            raise
        self._for_env = action_filter(stream.env.single_action_space)
        self._runner = EnvRunner(stream, self.get_module(), self.framework.bridge, seed=env_seed)
        self.pool = LocalPool(self._runner, DEFAULT_MODULE_ID)
        self.iteration = 0
        self._seconds = 0.0  # in train(), over the life of the run
        self._timers: dict[str, float] = {}
        self._evaluations = 0
        self._stopped = False

    # --- what an algorithm adds ---------------------------------------------------------------

    @abc.abstractmethod
    def training_step(self) -> dict[str, dict[str, float]]:
        """Sample, learn, and return `{module id: results}`."""

    @abc.abstractmethod
    def _make_loss(self, module: RLModule) -> Any:
        """Return the loss of one module, a function of (minibatch, coefficients)."""

    def _default_module_class(self) -> type[RLModule]:
        part = self.framework.algorithm_part(self.name, "module")
        default: type[RLModule] = part.DEFAULT_MODULE
        return default

    def _make_learner(self, seed: int) -> Learner:
        config = self.config
        settings = OptimizerSettings(config.adam_epsilon, config.grad_clip, config.grad_clip_by)
        return Learner(self.modules, self._make_loss, self.framework, settings, seed=seed)

    def _make_stream(self, num_envs: int) -> EnvStream:
        config = self.config
        if config.env is None:  # validate() refused it
            raise ConfigError("no environment")
        return EnvStream(make_vector_env(config.env, config.env_config, num_envs))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Report the seconds spent inside as `timers/<name>`."""
        begin = perf_counter()
        yield
        self._timers[name] = self._timers.get(name, 0.0) + perf_counter() - begin

    @property
    def env_steps(self) -> int:
        """Environment steps sampled over the life of the run; schedules follow it."""
        return self._runner.episodes.num_steps

    # --- the run ------------------------------------------------------------------------------

    def train(self) -> Result:
        """Run one iteration and return what happened in it.

        The keys are always the same, but for `evaluation` in the iterations that evaluate; statistics
        of episodes are NaN until the first one ends.
        Raises RuntimeError after `stop()`.
        """
        if self._stopped:
            raise RuntimeError("train: this algorithm was stopped; build another and restore a checkpoint")
        begin = perf_counter()
        before = self._runner.episodes.num_steps, self._runner.episodes.num_episodes
        env_before, self._timers = self._runner.env_seconds, {}
        with self.framework.bridge.threads(1 if self.config.minibatch_size <= SMALL_BATCH else None):
            learned = self.training_step()
        self.iteration += 1
        seconds = perf_counter() - begin
        self._seconds += seconds
        env_seconds = self._runner.env_seconds - env_before
        result = training_result(
            iteration=self.iteration,
            seconds_total=self._seconds,
            episodes=self._runner.episodes,
            before=before,
            learners=learned,
            timers={**self._timers, "env_s": env_seconds, "iteration_s": seconds},
        )
        interval = self.config.evaluation_interval
        if interval is not None and self.iteration % interval == 0:
            result.update(self.evaluate())
        return result

    def evaluate(self, num_episodes: int | None = None, *, explore: bool = False) -> Result:
        """Play whole episodes in environments of their own; greedy, unless `explore`.

        Training is not disturbed: no state, counter or generator of it is touched. (A distribution of
        the framework's own draws from the framework's generator, so with `explore` it moves that.)
        """
        wanted = self.config.evaluation_duration if num_episodes is None else num_episodes
        if mismatch(wanted, PositiveInt):
            raise ConfigError(f"evaluate: num_episodes: {mismatch(wanted, PositiveInt)}")
        self._evaluations += 1  # so that each plays episodes of its own
        seeds = np.random.default_rng([self._evaluation_seed, self._evaluations])
        episodes: list[Episode] = []
        while len(episodes) < wanted:
            stream = self._make_stream(min(wanted - len(episodes), MAX_PARALLEL_EVALUATION))
            try:
                episodes += evaluate_episodes(
                    stream,
                    self.get_module(),
                    self.framework.bridge,
                    explore=explore,
                    seed=int(seeds.integers(2**31)),
                )
            finally:
                stream.close()
        return {"evaluation": evaluation_result(episodes[:wanted])}

    def compute_single_action(self, obs: Nest, *, explore: bool = False) -> Nest:
        """Return the action for one observation, as the environment takes it."""
        actor = Actor(self.get_module(), self.framework.bridge, np.random.default_rng())
        batch = map_nest(lambda leaf: np.asarray(leaf)[None], obs)
        actions = actor.explore(batch).actions if explore else actor.exploit(batch)
        return map_nest(lambda leaf: leaf[0], self._for_env(actions))

    def get_module(self, module_id: str = DEFAULT_MODULE_ID) -> RLModule:
        """Return a module; KeyError that lists the ids for an unknown one."""
        return self.modules[module_id]

    # --- saving and stopping ------------------------------------------------------------------

    def save(self, directory: str | Path) -> Path:
        """Write `directory/ckpt_<iteration>/`, whole or not at all, and return its path."""
        return save_algorithm_state(self, Path(directory))

    def restore(self, directory: str | Path) -> None:
        """Take over a saved state: a checkpoint, or a folder, of which the newest is taken.

        Raises CheckpointError, and changes nothing, if there is none or it does not fit.
        """
        saved = load_algorithm_state(Path(directory), algorithm=self.name)["state"]
        before = self.get_state()
        try:
            self.set_state(saved)
        except (KeyError, TypeError, ValueError) as error:
            self.set_state(before)
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise CheckpointError(f"{directory}: does not fit this run: {reason}") from error

    @classmethod
    def from_checkpoint(cls, directory: str | Path, config: AlgorithmConfig | None = None) -> Algorithm[Any]:
        """Make the algorithm that was saved, as it was; `Algorithm.from_checkpoint` makes any.

        `config` is needed only if the one that was saved holds classes or functions (an environment
        class, a module of your own), which are never imported because a file says so.
        """
        saved = load_algorithm_state(Path(directory), algorithm=getattr(cls, "name", None))
        if config is None:
            kinds = {kind.name: kind for kind in Algorithm.__subclasses__()}
            if saved["algorithm"] not in kinds:
                raise CheckpointError(f"{directory}: {saved['algorithm']!r} is none of {sorted(kinds)}")
            config = kinds[saved["algorithm"]].config_class.from_json(saved["config"])
        algorithm = config.build()
        try:
            algorithm.restore(directory)
        except BaseException:
            algorithm.stop()
            raise
        return algorithm

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data."""
        return {
            "iteration": self.iteration,
            "seconds": self._seconds,
            "learner": self.learner.get_state(),
            "runner": self._runner.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; the environments start anew. See `restore` for a safe way."""
        iteration, seconds = state["iteration"], state["seconds"]
        self.learner.set_state(state["learner"])
        self._runner.set_state(state["runner"])
        self.iteration, self._seconds = iteration, seconds

    def stop(self) -> None:
        """Release the environments; calling it again does nothing."""
        self._stopped = True
        self.pool.close()

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
