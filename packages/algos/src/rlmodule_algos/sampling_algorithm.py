"""What the algorithms share that learn from what they sample themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.batching import Fragment
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.execution import LocalPool, SamplerPool
from rlmodule_algos.reporting import Result
from rlmodule_algos.sampling import Episodes, World
from rlmodule_core import RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import map_nest

Config = TypeVar("Config", bound=AlgorithmConfig)


class SamplingAlgorithm(Algorithm[Config]):
    """An algorithm with environments of its own to act in; it samples through `pool`."""

    def _start(self, world: World, seed: int) -> None:
        runner = world.runner(
            self.modules, self.framework.bridge, learns=lambda: self.learner.trained, seed=seed
        )
        self.pool: SamplerPool = LocalPool(runner)

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
                self.modules[module_id].update_normalizer(fragment.real(acted_on))

    def train(self) -> Result:
        """Run one iteration; see `Algorithm.train`. `fault_tolerance/` tells how the runners fare."""
        result = super().train()
        result["fault_tolerance"] = self.pool.health()
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
        super().stop()
        self.pool.close()
