"""Learning on a thread of its own, and what is refused while that is at work outside of `train()`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rlmodule_algos.actor_learner.config import ActorLearnerConfig
from rlmodule_algos.execution import LearnerThread
from rlmodule_algos.reporting import Result
from rlmodule_algos.sampling_algorithm import SamplingAlgorithm
from rlmodule_core import DEFAULT_MODULE_ID, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest

Config = TypeVar("Config", bound=ActorLearnerConfig)


class ThreadedAlgorithm(SamplingAlgorithm[Config]):
    """An algorithm that learns on a thread of its own where its runners are elsewhere.

    After an interrupt of `train()` the thread may be at work on an update for a while. Until that is whole,
    what would read half of it, or change what it works on, raises RuntimeError. What `get_policy` and
    `get_module` return are the very modules that learn, and look like it then.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._thread = LearnerThread() if config.num_env_runners else None

    def _require_idle(self, call: str) -> None:
        if self._thread is not None:
            self._thread.require_idle(call)

    def evaluate(self, num_episodes: int | None = None, *, explore: bool = False) -> Result:
        """Play whole episodes; see `Algorithm.evaluate`."""
        self._require_idle("evaluate")
        return super().evaluate(num_episodes, explore=explore)

    def compute_single_action(
        self, obs: Nest, state: Nest = None, *, policy_id: str = DEFAULT_MODULE_ID, explore: bool = False
    ) -> Nest:
        """Return the action for one observation; see `Algorithm.compute_single_action`."""
        self._require_idle("compute_single_action")
        return super().compute_single_action(obs, state, policy_id=policy_id, explore=explore)

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on; see `Algorithm.add_module`."""
        self._require_idle("add_module")
        return super().add_module(module_id, module_spec)

    def remove_module(self, module_id: str) -> None:
        """Remove a module; see `Algorithm.remove_module`."""
        self._require_idle("remove_module")
        super().remove_module(module_id)

    def save(self, directory: str | Path) -> Path:
        """Write a checkpoint; see `Algorithm.save`."""
        self._require_idle("save")
        return super().save(directory)

    def restore(self, directory: str | Path) -> None:
        """Take over a saved state; see `Algorithm.restore`."""
        self._require_idle("restore")
        super().restore(directory)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data."""
        self._require_idle("get_state")
        return super().get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; see `restore` for a safe way."""
        self._require_idle("set_state")
        super().set_state(state)

    def stop(self) -> None:
        """Release the environments and end the learner's thread; calling it again does nothing."""
        try:
            super().stop()
        finally:
            if self._thread is not None:
                self._thread.close()
