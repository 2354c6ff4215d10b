"""Many env runners seen as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rlmodule_algos.batching import Fragment
from rlmodule_algos.sampling import Runner
from rlmodule_core.module import State


class SamplerPool(Protocol):
    """`LocalPool` needs nothing; a pool on Ray has the same three methods."""

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Give every runner `{module id: state}`; later fragments bear `version`.

        `get_weights` copies, so it is called only where there is someone to send to.
        """

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return fragments by module id, of about `num_env_steps` environment steps in all.

        A module that completed no step is left out.
        """

    def close(self) -> None:
        """Release every runner; calling it again does nothing."""


class LocalPool:
    """One runner in this process, acting with the very modules that learn.

    So there is nothing to copy: `broadcast` only notes the version.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self._version = 0
        self._closed = False

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Note the version of the weights that the shared modules have now."""
        self._version = version

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return one fragment a module that acted, of `num_env_steps // num_envs` steps an environment."""
        steps = max(1, num_env_steps // self.runner.num_envs)
        collected = self.runner.collect(steps, weights_version=self._version)
        return {module_id: [fragment] for module_id, fragment in collected.items()}

    def close(self) -> None:
        """Close the environments."""
        if not self._closed:
            self._closed = True
            self.runner.close()
