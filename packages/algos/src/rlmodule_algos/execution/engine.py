"""What it takes to run runners elsewhere: the few things that Ray is used for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from rlmodule_algos.execution.messages import Request, Snapshot

Ref: TypeAlias = Any
"""A result that will be there some time; hashable."""


class Process(NamedTuple):
    """A runner that was started, perhaps not yet ready."""

    handle: Any
    ready: Ref  # of its process id, once environments and modules are made


Doomed: TypeAlias = tuple[Process, int | None]
"""A process to end, and its id once that is known."""


class Engine(Protocol):
    """Starts, asks, awaits and ends runners. Only `wait`, `get` and, for a moment, `kill` block."""

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        """Start a process that makes a `RemoteRunner`."""

    def put(self, snapshot: Snapshot) -> Ref:
        """Store a snapshot once, for all runners to read."""

    def sample(self, process: Process, request: Request, snapshot_number: int, snapshot: Ref) -> Ref:
        """Ask for a `Delivery`; requests to one process are done in their order."""

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        """Return those that are there, done or failed, waiting until one is or the time is over."""

    def get(self, ref: Ref) -> Any:
        """Return a result that is there. Raises what the runner raised, or that it died."""

    def kill(self, processes: Sequence[Doomed]) -> None:
        """End processes at once, whatever they are doing; all are told to before any is waited for."""

    def close(self) -> None:
        """Release what belongs to all runners; calling it again does nothing."""
