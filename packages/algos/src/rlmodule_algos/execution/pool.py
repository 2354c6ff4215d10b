"""Many env runners seen as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rlmodule_algos.batching import Fragment
from rlmodule_algos.sampling import EnvRunner
from rlmodule_core.module import State


class SamplerPool(Protocol):
    """`LocalPool` needs nothing; a pool on Ray has the same three methods."""

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Give every runner `{module id: state}`; later fragments bear `version`.

        `get_weights` copies, so it is called only where there is someone to send to.
        """

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return at least one fragment a module id; about `num_env_steps` steps in all."""

    def close(self) -> None:
        """Release every runner; calling it again does nothing."""


class LocalPool:
    """One runner in this process, acting with the very module that learns.

    So there is nothing to copy: `broadcast` only notes the version.
    """

    def __init__(self, runner: EnvRunner, module_id: str) -> None:
        self.runner = runner
        self._module_id = module_id
        self._version = 0
        self._closed = False

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Note the version of the weights that the shared module has now."""
        self._version = version

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return one fragment of `num_env_steps // num_envs` steps a row."""
        steps = max(1, num_env_steps // self.runner.num_envs)
        return {self._module_id: [self.runner.sample(steps, weights_version=self._version)]}

    def close(self) -> None:
        """Close the environments."""
        if not self._closed:
            self._closed = True
            self.runner.close()
