"""Keeps a number of runners alive and their books straight, whatever becomes of single ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import NamedTuple

from rlmodule_algos.execution.engine import Engine, Process, Ref
from rlmodule_algos.execution.errors import EnvRunnerError
from rlmodule_algos.execution.interrupts import released
from rlmodule_algos.execution.messages import Delivery, Request, Snapshot
from rlmodule_algos.execution.tolerance import PROVEN_S, FaultTolerance

MAX_DELAY_S = 30.0
MAX_WAIT_S = 1.0  # in one go, so that deadlines are seen


@dataclass
class Asked:
    """A request whose fragment has not come yet."""

    ref: Ref
    request: Request


@dataclass
class Slot:
    """One runner, whichever process is it at the moment."""

    index: int
    incarnation: int = 0
    process: Process | None = None
    pid: int | None = None  # once it is ready
    asked: deque[Asked] = field(default_factory=deque)  # oldest first
    since: float = 0.0  # when it began with what it is doing
    ready_at: float = 0.0
    seed: int = 0
    sequence: int = 0
    failures: int = 0  # in a row
    first_error: str = ""  # of those
    restart_at: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether it can sample."""
        return self.pid is not None

    @property
    def awaited(self) -> Ref:
        """What it will be done with next, or None."""
        if self.process is None:
            return None
        if not self.ready:
            return self.process.ready
        return self.asked[0].ref if self.asked else None


class Failure(NamedTuple):
    """Why a runner has to be replaced."""

    slot: Slot
    reason: str
    error: Exception | None = None


@dataclass
class Books:
    """Always `requested = delivered + dropped + in flight`. They count fragments, over the pool's life."""

    requested: int = 0
    delivered: int = 0
    dropped: int = 0
    restarts: int = 0


class Fleet:
    """Starts runners, asks them for fragments, and replaces those that die, hang or raise.

    Nothing happens in the background: `poll` does it all, and puts into `arrived` what came. What a
    runner had been asked for is dropped with it and told by `lost`; a fragment that another incarnation or
    an earlier epoch was asked for is refused.

    Whoever calls holds interrupts back, see `interrupts`; they are let through where it waits.
    """

    def __init__(
        self, engine: Engine, size: int, tolerance: FaultTolerance, draw_seed: Callable[[], int]
    ) -> None:
        self.books = Books()
        self.slots = [Slot(index) for index in range(size)]
        self.arrived: deque[Delivery] = deque()  # and not taken yet
        self.lost: list[int] = []  # environment steps that were asked for, and will not come
        self._engine = engine
        self._tolerance = tolerance
        self._draw_seed = draw_seed
        self._epoch = 0
        self._error: EnvRunnerError | None = None
        self._snapshot: tuple[int, Ref] | None = None

    # --- what it is told ----------------------------------------------------------------------

    def start(self) -> None:
        """Start every runner at once; the environments are made side by side."""
        for slot in self.slots:
            self._start(slot)

    def broadcast(self, snapshot: Snapshot) -> None:
        """Let requests from now on be sampled with this snapshot. The one before is released."""
        self._snapshot = snapshot.number, self._engine.put(snapshot)

    def ask(self, slot: Slot, num_env_steps: int) -> None:
        """Ask a runner for a fragment; it may still be starting."""
        if slot.process is None or self._snapshot is None:
            raise RuntimeError(f"env runner {slot.index}: asked before it was started and given weights")
        request = Request(slot.sequence, self._epoch, num_env_steps, slot.seed)
        if slot.ready and not slot.asked:
            slot.since = monotonic()
        slot.asked.append(Asked(self._engine.sample(slot.process, request, *self._snapshot), request))
        slot.sequence += 1
        self.books.requested += 1

    def refuse_asked(self) -> None:
        """Drop what came and was not taken, and what is still to come of what was asked for."""
        self._epoch += 1
        self.books.dropped += len(self.arrived)
        self.arrived.clear()
        self.lost.clear()

    def start_over(self) -> None:
        """Do that, and let every runner start its environments anew."""
        self.refuse_asked()
        for slot in self.slots:
            slot.seed = self._draw_seed()

    # --- what comes of it ---------------------------------------------------------------------

    def poll(self, most_s: float = MAX_WAIT_S) -> None:
        """Wait for something to happen, for `most_s` seconds at most, and see to it.

        Raises EnvRunnerError, again and again, once failures are more than is borne.
        """
        if self._error is not None:
            raise self._error
        for slot in self.slots:
            if slot.process is None and monotonic() >= slot.restart_at:
                self.books.restarts += 1
                self._start(slot)
        timeout = min(most_s, self._patience())
        while ready := self._wait(timeout):
            self._fail([failed for slot in ready if (failed := self._advance(slot)) is not None])
            timeout = 0.0
        self._fail([failed for slot in self.slots if (failed := self._overdue(slot)) is not None])

    def take(self) -> Delivery:
        """Give out the fragment that came first of those that wait."""
        self.books.delivered += 1
        return self.arrived.popleft()

    def put_back(self, taken: Sequence[Delivery]) -> None:
        """Let the fragments that were taken last wait again, before all others and in their order."""
        self.books.delivered -= len(taken)
        self.arrived.extendleft(reversed(taken))

    @property
    def num_in_flight(self) -> int:
        """Fragments that were asked for and have been neither given out nor dropped."""
        return len(self.arrived) + sum(len(slot.asked) for slot in self.slots)

    @property
    def num_ready(self) -> int:
        """Runners that are there and can sample."""
        return sum(slot.ready for slot in self.slots)

    def kill(self) -> None:
        """End every process, and let go of all that they shared. All are told to before any is waited for."""
        self._engine.kill([(slot.process, slot.pid) for slot in self.slots if slot.process is not None])
        for slot in self.slots:
            self._drop(slot)
        self._snapshot = None

    # --- one runner ---------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        slot.incarnation += 1
        slot.seed, slot.sequence = self._draw_seed(), 0
        slot.process = self._engine.start(slot.index, slot.incarnation, slot.seed)
        slot.since = monotonic()

    def _drop(self, slot: Slot) -> None:
        """Count what a runner was asked for as lost, as its process was ended."""
        for asked in slot.asked:
            self.books.dropped += 1
            if asked.request.epoch == self._epoch:
                self.lost.append(asked.request.num_env_steps)
        slot.process, slot.pid = None, None
        slot.asked.clear()

    def _patience(self) -> float:
        waiting = [slot.restart_at for slot in self.slots if slot.process is None]
        return max(0.0, min([MAX_WAIT_S, *(time - monotonic() for time in waiting)]))

    def _wait(self, timeout: float) -> list[Slot]:
        awaited = {slot.awaited: slot for slot in self.slots if slot.awaited is not None}
        with released():
            if not awaited:
                sleep(timeout)
                return []
            ready = self._engine.wait(list(awaited), timeout)
        return [awaited[ref] for ref in ready]

    def _advance(self, slot: Slot) -> Failure | None:
        """Take what a runner has done."""
        with released():
            try:
                done = self._engine.get(slot.awaited)
            except Exception as error:  # whatever an environment raises, or how its process died
                return Failure(slot, "raised an error or died", error)
        slot.since = monotonic()
        if not slot.ready:
            slot.pid, slot.ready_at = done, slot.since
            return None
        asked = slot.asked.popleft()
        if slot.since - slot.ready_at >= PROVEN_S:
            slot.failures = 0
        if self._is_current(done, slot, asked):
            self.arrived.append(done)
        else:
            self.books.dropped += 1
        return None

    def _is_current(self, delivery: Delivery, slot: Slot, asked: Asked) -> bool:
        receipt = delivery.receipt
        came = receipt.runner, receipt.incarnation, receipt.sequence, receipt.epoch
        return came == (slot.index, slot.incarnation, asked.request.sequence, self._epoch)

    def _overdue(self, slot: Slot) -> Failure | None:
        if slot.awaited is None:
            return None
        limit, doing, name = self._tolerance.sample_timeout_s, "give a fragment", "sample"
        if not slot.ready:  # on a busy machine: twice the time with each failure, or it would never come up
            limit, doing, name = self._tolerance.start_timeout_s * 2**slot.failures, "start", "start"
        if monotonic() - slot.since <= limit:
            return None
        return Failure(slot, f"did not {doing} within {limit:g} s (fault_tolerance: {name}_timeout_s)")

    def _fail(self, failures: Sequence[Failure]) -> None:
        """End runners, all told to before any is waited for, and replace each after a pause.

        Raises EnvRunnerError where that is not borne any more, once all of them are ended.
        """
        if failures:
            self._engine.kill([(slot.process, slot.pid) for slot, *_ in failures if slot.process is not None])
        for failure in failures:
            self._note(failure)
        if self._error is not None:
            raise self._error

    def _note(self, failure: Failure) -> None:
        """Let another runner take the place of one that was ended, or keep the error that ends the run."""
        slot, reason, error = failure
        described = reason if error is None else f"{reason}:\n{error}"
        seed = slot.asked[0].request.seed if slot.asked else slot.seed
        who = f"env runner {slot.index}, incarnation {slot.incarnation}, seed {seed}"
        slot.failures += 1
        slot.first_error = described if slot.failures == 1 else slot.first_error
        self._drop(slot)
        slot.restart_at = monotonic() + min(
            self._tolerance.restart_delay_s * 2 ** (slot.failures - 1), MAX_DELAY_S
        )
        if (
            self._error is None
            and (why := self._tolerance.given_up(slot.failures, self.books.restarts)) is not None
        ):
            text = f"{who} {described}\n{why}"
            if slot.first_error != described:
                text += f"; its first failure of these: it {slot.first_error}"
            self._error = EnvRunnerError(text)
            self._error.__cause__ = error
