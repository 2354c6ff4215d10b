"""Many env runners seen as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rlmodule_algos.batching import Fragment
from rlmodule_algos.execution.interrupts import released
from rlmodule_algos.sampling import Episodes, Runner
from rlmodule_core import MultiAgentRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.module import State


class SamplerPool(Protocol):
    """`LocalPool` needs nothing; `RemotePool` runs the same runners elsewhere, such as on Ray."""

    @property
    def episodes(self) -> Episodes:
        """What is known of the episodes of all runners."""

    @property
    def env_seconds(self) -> float:
        """Seconds spent inside environments, added up over all runners."""

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Give every runner `{module id: state}`; fragments begun from now on bear `version`.

        `get_weights` copies, so it is called only where there is someone to send to.
        """

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return fragments by module id, of about `num_env_steps` environment steps in all.

        A module that completed no step is left out.
        """

    def attend(self) -> None:
        """See to runners elsewhere, without waiting: receive what came, replace who failed, ask for more."""

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None) -> None:
        """Let a module act that was added to those that learn; its weights come with `broadcast`."""

    def remove_module(self, module_id: str) -> None:
        """Let nobody act with a module any more."""

    def health(self) -> dict[str, int]:
        """Return what `fault_tolerance/` of the result holds; the keys are those of `health_of_one`."""

    def get_state(self) -> dict[str, Any]:
        """Return a generator's state as `rng` and what is known of the episodes as `episodes`."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` of any pool returned; all environments start new episodes."""

    def close(self) -> None:
        """Release every runner; calling it again does nothing."""


@dataclass(frozen=True)
class OwnModules:
    """Modules that only act: a copy of those that learn, which `broadcast` refreshes."""

    modules: MultiAgentRLModule
    build: Callable[[str, SingleAgentRLModuleSpec | None], RLModule]  # of one that joins later


class LocalPool:
    """One runner in this process.

    Without `own` it acts with the very modules that learn, so there is nothing to copy: `broadcast` only
    notes the version. `fragment_length` is how many steps each environment takes in a fragment; None: as
    many as are asked for.
    """

    def __init__(
        self, runner: Runner, *, own: OwnModules | None = None, fragment_length: int | None = None
    ) -> None:
        self.runner = runner
        self._own = own
        self._fragment_length = fragment_length
        self._version = 0
        self._closed = False
        self._fragments = 0

    @property
    def episodes(self) -> Episodes:
        """What the runner knows."""
        return self.runner.episodes

    @property
    def env_seconds(self) -> float:
        """What the runner spent."""
        return self.runner.env_seconds

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Let what is sampled from now on bear the version, and copy the weights if they are not shared."""
        if self._own is not None:
            self._own.modules.set_state(get_weights())
        self._version = version

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return one fragment a module that acted, of `num_env_steps // num_envs` steps an environment.

        With a `fragment_length`: as many fragments of it as `num_env_steps` need, the last one whole too.
        """
        length, count = max(1, num_env_steps // self.runner.num_envs), 1
        if self._fragment_length is not None:
            length = self._fragment_length
            count = max(1, -(-num_env_steps // (length * self.runner.num_envs)))
        by_module: dict[str, list[Fragment]] = {}
        for _ in range(count):
            with released():
                collected = self.runner.collect(length, weights_version=self._version)
            self._fragments += 1
            for module_id, fragment in collected.items():
                by_module.setdefault(module_id, []).append(fragment)
        return by_module

    def attend(self) -> None:
        """Do nothing: the runner works only when it is asked."""

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None) -> None:
        """Build it beside the modules that act; the runner sees it among shared ones by itself."""
        if self._own is not None:
            self._own.modules.add_module(module_id, self._own.build(module_id, module_spec))

    def remove_module(self, module_id: str) -> None:
        """Let nobody act with a module any more."""
        if self._own is not None:
            self._own.modules.remove_module(module_id)
        self.runner.forget(module_id)

    def health(self) -> dict[str, int]:
        """Return the counts of one runner, which cannot be lost."""
        return health_of_one(self._fragments)

    def get_state(self) -> dict[str, Any]:
        """Return the runner's state."""
        return self.runner.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set the runner's state."""
        self.runner.set_state(dict(state))

    def close(self) -> None:
        """Close the environments."""
        if not self._closed:
            self._closed = True
            self.runner.close()


def health_of_one(num_fragments: int) -> dict[str, int]:
    """Return the counts of a pool whose one runner never fails: all that was asked for was given.

    A fragment here is what one runner returns at once, whatever the number of its modules. Always
    `requested = delivered + dropped + in flight`, over the life of the pool.
    """
    return {
        "num_healthy_env_runners": 1,
        "num_restarts": 0,
        "num_fragments_requested": num_fragments,
        "num_fragments_delivered": num_fragments,
        "num_dropped_fragments": 0,
        "num_fragments_in_flight": 0,
    }
