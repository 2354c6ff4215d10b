"""What the algorithms share that learn from what they sample themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.batching import Fragment
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.envs import registrations
from rlmodule_algos.execution import FaultTolerance, LocalPool, RemotePool, SamplerPool
from rlmodule_algos.reporting import Result
from rlmodule_algos.runner_setup import MakeRunnerSetup
from rlmodule_algos.sampling import Episodes, World
from rlmodule_core import RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest, map_nest

Config = TypeVar("Config", bound=AlgorithmConfig)


class SamplingAlgorithm(Algorithm[Config]):
    """An algorithm with environments of its own to act in; it samples through `pool`."""

    asynchronous: ClassVar[bool] = False
    """Whether env runners in other processes go on while their fragments are learned from."""

    def _start(self, world: World, seed: int) -> None:
        if self.config.num_env_runners:
            self.pool: SamplerPool = self._make_remote_pool(seed, world.num_envs)
            try:
                world.close()  # each runner makes its own
            except BaseException:
                self.pool.close()
                raise
            return
        runner = world.runner(
            self.modules, self.framework.bridge, learns=lambda: self.learner.trained, seed=seed
        )
        self.pool = LocalPool(runner, fragment_length=self.config.rollout_fragment_length)

    def _make_remote_pool(self, seed: int, num_envs: int) -> SamplerPool:
        from rlmodule_algos.execution.ray_pool import RayEngine, pickle_by_value

        config, mapping = self.config, self.config.policy_mapping_fn
        length = config.rollout_fragment_length  # None: a runner's share of what is sampled
        make = MakeRunnerSetup(
            config.copy(),
            self._default_module_class(),
            self.default_catalog_class,
            () if config.env is None else registrations(config.env),
        )
        engine = RayEngine(make, num_env_runners=config.num_env_runners, address=config.ray_address)
        return RemotePool(
            engine,
            num_env_runners=config.num_env_runners,
            learns=lambda: self.learner.trained,
            tolerance=fault_tolerance(config),
            seed=seed,
            requests_in_flight=config.max_requests_in_flight_per_env_runner if self.asynchronous else None,
            steps_per_request=length and length * num_envs,
            pickled_mapping=None
            if mapping is None
            else lambda: pickle_by_value(
                mapping,
                "multi_agent: policy_mapping_fn (it goes to env runners with the weights, so let it look at "
                "plain data, such as a dict that you change)",
            ),
        )

    def sample_together(self) -> dict[str, list[Fragment]]:
        """Return fragments of `train_batch_size` steps that all runners sampled with the weights of now."""
        with self.timed_sampling():
            self.pool.broadcast(self.iteration, self.modules.get_state)
            return self.pool.sample(self.config.train_batch_size)

    @property
    def env_steps(self) -> int:
        """Environment steps sampled over the life of the run; schedules follow it."""
        return self.pool.episodes.num_steps

    @property
    def episodes(self) -> Episodes:
        """The episodes that were sampled to learn from."""
        return self.pool.episodes

    @contextmanager
    def timed_sampling(self) -> Iterator[None]:
        """Report the seconds spent inside as `timers/sample_s`, of them those in environments as `env_s`."""
        before = self.pool.env_seconds
        with self.timed("sample_s"):
            yield
        self.add_seconds("env_s", self.pool.env_seconds - before)

    def update_normalizers(self, fragments: Mapping[str, Sequence[Fragment]]) -> None:
        """Show the modules that learn what was observed, once they have learned from it.

        Not earlier: what acted and what learns must see the same numbers.
        """
        for module_id in self.learner.trained:
            for fragment in fragments.get(module_id, ()):
                acted_on = map_nest(lambda column: column[:-1], fragment.obs)
                self._update_normalizer(module_id, fragment.real(acted_on))

    def _update_normalizer(self, module_id: str, obs: Nest) -> None:
        self.modules[module_id].update_normalizer(obs)

    def train(self) -> Result:
        """Run one iteration; see `Algorithm.train`. `fault_tolerance/` tells how the runners fare."""
        result = super().train()
        result["fault_tolerance"] = {**self.pool.health(), **self.learner.health()}
        return result

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on; see `Algorithm.add_module`."""
        module = super().add_module(module_id, module_spec)
        self.pool.add_module(module_id, module_spec)
        return module

    def remove_module(self, module_id: str) -> None:
        """Remove a module; its agents are mapped anew. KeyError that lists the ids for an unknown one."""
        super().remove_module(module_id)
        self.pool.remove_module(module_id)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data."""
        return {**super().get_state(), "runner": self.pool.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; the environments start anew. See `restore` for a safe way."""
        runner = state["runner"]
        super().set_state(state)
        self.pool.set_state(runner)

    def stop(self) -> None:
        """Release the environments; calling it again does nothing."""
        try:
            super().stop()
        finally:
            self.pool.close()


def fault_tolerance(config: AlgorithmConfig) -> FaultTolerance:
    """Return what `config.fault_tolerance(...)` says."""
    return FaultTolerance(
        restart=config.restart_failed_env_runners,
        max_restarts=config.max_num_env_runner_restarts,
        max_failures_in_a_row=config.max_failures_in_a_row,
        restart_delay_s=config.restart_delay_s,
        sample_timeout_s=config.sample_timeout_s,
        start_timeout_s=config.start_timeout_s,
    )
