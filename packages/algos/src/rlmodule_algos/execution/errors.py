"""What goes wrong elsewhere."""

from __future__ import annotations

from rlmodule_algos.envs import EnvError


class EnvRunnerError(EnvError):
    """A runner that fails again and again, or may not be replaced any more; it ends the run."""
