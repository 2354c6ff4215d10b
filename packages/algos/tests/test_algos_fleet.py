"""Which runners are replaced, when, and what becomes of what they were asked for, on a clock of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from interrupt_checks import interrupted_at_every_line
from rlmodule_algos.execution import EnvRunnerError, FaultTolerance, fleet, held
from rlmodule_algos.execution.engine import Doomed, Process, Ref
from rlmodule_algos.execution.fleet import Fleet, Slot
from rlmodule_algos.execution.messages import Delivery, Receipt, Request, Snapshot
from rlmodule_algos.sampling import EpisodeCounts

TOLERANCE = FaultTolerance(
    restart=True,
    max_restarts=1000,
    max_failures_in_a_row=3,
    restart_delay_s=0.5,
    sample_timeout_s=60.0,
    start_timeout_s=120.0,
)


@dataclass
class Clock:
    """Time passes only while the fleet waits, and where a test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(fleet, "monotonic", made)
    monkeypatch.setattr(fleet, "sleep", made.sleep)
    return made


@dataclass
class Engine:
    """Does nothing by itself: a test says what is there, a result or an error."""

    clock: Clock
    there: dict[Ref, Any] = field(default_factory=dict)
    num_refs: int = 0
    started_at: list[float] = field(default_factory=list)
    requests: list[tuple[Ref, Request]] = field(default_factory=list)
    killed: list[list[tuple[Any, int | None]]] = field(default_factory=list)  # by call
    start_fails: bool = False

    def ref(self) -> int:
        self.num_refs += 1
        return self.num_refs

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        self.started_at.append(self.clock.now)
        ready = self.ref()
        self.there[ready] = RuntimeError("no such ROM") if self.start_fails else 1000 + ready
        return Process((index, incarnation), ready)

    def put(self, snapshot: Snapshot) -> Ref:
        return snapshot

    def sample(self, process: Process, request: Request, snapshot_number: int, snapshot: Ref) -> Ref:
        ref = self.ref()
        self.requests.append((ref, request))
        return ref

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        found = [ref for ref in refs if ref in self.there]
        if not found:
            self.clock.sleep(timeout)
        return found

    def get(self, ref: Ref) -> Any:
        done = self.there[ref]
        if isinstance(done, Exception):
            raise done
        return done

    def kill(self, processes: Sequence[Doomed]) -> None:
        self.killed.append([(process.handle, pid) for process, pid in processes])

    def close(self) -> None:
        pass

    def answer(self, slot: Slot, **other: int) -> None:
        """Let a runner give what it was asked for first, or say that it is another fragment."""
        request = slot.asked[0].request
        receipt = Receipt(slot.index, slot.incarnation, request.sequence, request.epoch, 0, 10)
        counts = EpisodeCounts([], {}, 0, 10, {})
        self.there[slot.asked[0].ref] = Delivery(receipt._replace(**other), {}, counts, 0.0)

    def fail(self, slot: Slot, error: Exception) -> None:
        """Let a runner raise in place of what it was asked for first."""
        self.there[slot.asked[0].ref] = error


class Started(Fleet):
    """A fleet whose runners are there and have weights; seeds count up from 0."""

    def __init__(self, engine: Engine, size: int = 1, tolerance: FaultTolerance = TOLERANCE) -> None:
        seeds = iter(range(10**6))
        super().__init__(engine, size, tolerance, lambda: next(seeds))
        self.engine = engine
        self.start()
        self.broadcast(Snapshot(0, 0, {}, {}, ()))
        self.poll()

    def revive(self) -> None:
        """Wait until all runners are there."""
        while self.num_ready < len(self.slots):
            self.poll()

    def work(self, slot: Slot) -> None:
        """Ask a runner for a fragment and get it."""
        self.ask(slot, 10)
        self.engine.answer(slot)
        self.poll()

    def fail(self, slot: Slot, error: Exception) -> None:
        """Ask a runner for a fragment and get an error."""
        self.ask(slot, 10)
        self.engine.fail(slot, error)
        self.poll()


def poll_for_ever(made: Fleet) -> None:
    while True:
        made.poll()


# --- when it is given up ----------------------------------------------------------------------


def test_failures_are_forgotten_once_a_runner_has_worked_for_a_minute(clock: Clock) -> None:
    made = Started(Engine(clock))
    (slot,) = made.slots
    for _ in range(10):
        made.fail(slot, RuntimeError("once in a while"))
        made.revive()
        clock.sleep(61.0)
        made.work(slot)

    assert made.books.restarts == 10


def test_a_runner_that_gives_a_fragment_and_then_fails_for_ever_ends_the_run(clock: Clock) -> None:
    made = Started(Engine(clock))
    (slot,) = made.slots

    def work_and_fail() -> None:
        made.work(slot)
        made.fail(slot, RuntimeError("always at the second"))
        made.revive()

    work_and_fail()
    work_and_fail()
    with pytest.raises(EnvRunnerError, match="3 times in a row, each time within 60 s of its start"):
        work_and_fail()

    assert made.books.restarts == 2


def test_the_pause_before_a_restart_doubles_up_to_half_a_minute(clock: Clock) -> None:
    engine = Engine(clock)
    made = Started(engine, tolerance=replace(TOLERANCE, max_failures_in_a_row=10))
    engine.start_fails = True
    engine.started_at.clear()
    failed_at = clock.now
    made.fail(made.slots[0], RuntimeError("now it begins"))
    with pytest.raises(EnvRunnerError):
        poll_for_ever(made)

    pauses = np.diff([failed_at, *engine.started_at])
    assert pauses == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0])


def test_a_runner_that_rested_has_the_whole_time_for_its_next_fragment(clock: Clock) -> None:
    made = Started(Engine(clock))
    (slot,) = made.slots
    clock.sleep(1000.0)  # the learner learned
    made.ask(slot, 10)
    clock.sleep(59.0)
    made.poll()
    assert made.books.dropped == 0
    while not made.books.dropped:
        made.poll()

    assert slot.first_error.startswith("did not give a fragment within 60 s")


def test_the_error_tells_the_last_failure_the_first_who_and_with_which_seed(clock: Clock) -> None:
    made = Started(Engine(clock), size=2)
    errors = [OSError("the first"), OSError("the second"), OSError("the third")]
    for error in errors[:2]:
        made.fail(made.slots[1], error)
        made.revive()
    with pytest.raises(EnvRunnerError) as caught:
        made.fail(made.slots[1], errors[2])

    text = str(caught.value)
    assert caught.value.__cause__ is errors[-1]
    assert text.startswith("env runner 1, incarnation 3, seed 3 raised an error or died:\nthe third\n")
    assert "its first failure of these: it raised an error or died:\nthe first" in text
    assert "the second" not in text


def test_all_are_told_to_end_before_any_is_waited_for(clock: Clock) -> None:
    engine = Engine(clock)
    made = Started(engine, size=3)
    made.kill()

    assert engine.killed == [[((index, 1), made_pid) for index, made_pid in enumerate((1001, 1002, 1003))]]


def test_those_that_are_late_together_are_told_to_end_before_any_is_waited_for(clock: Clock) -> None:
    engine = Engine(clock)
    made = Started(engine, size=3)
    for slot in made.slots[:2]:
        made.ask(slot, 10)
    while made.books.dropped < 2:
        made.poll()

    assert engine.killed == [[((0, 1), 1001), ((1, 1), 1002)]]
    assert [slot.failures for slot in made.slots] == [1, 1, 0]


def test_those_that_raise_together_are_told_to_end_before_any_is_waited_for(clock: Clock) -> None:
    engine = Engine(clock)
    made = Started(engine, size=2)
    for slot in made.slots:
        made.ask(slot, 10)
        engine.fail(slot, OSError("no power"))
    made.poll()

    assert engine.killed == [[((0, 1), 1001), ((1, 1), 1002)]]


def test_all_that_are_late_are_ended_though_the_first_of_them_ends_the_run(clock: Clock) -> None:
    engine = Engine(clock)
    made = Started(engine, size=2, tolerance=replace(TOLERANCE, max_failures_in_a_row=1))
    for slot in made.slots:
        made.ask(slot, 10)
    with pytest.raises(EnvRunnerError, match="env runner 0, "):
        poll_for_ever(made)

    assert engine.killed == [[((0, 1), 1001), ((1, 1), 1002)]]
    assert made.num_ready == made.num_in_flight == 0
    assert made.books.dropped == 2


# --- what becomes of what was asked for -------------------------------------------------------


@pytest.mark.parametrize("other", [{"runner": 1}, {"incarnation": 2}, {"sequence": 1}, {"epoch": 1}])
def test_a_fragment_is_refused_unless_it_is_the_one_that_was_asked_for(
    clock: Clock, other: dict[str, int]
) -> None:
    made = Started(Engine(clock))
    (slot,) = made.slots
    made.ask(slot, 10)
    made.engine.answer(slot, **other)
    made.poll()

    assert not made.arrived
    assert (made.books.requested, made.books.dropped, made.num_in_flight) == (1, 1, 0)


def test_what_a_runner_was_asked_for_is_told_as_lost_when_it_fails(clock: Clock) -> None:
    made = Started(Engine(clock))
    (slot,) = made.slots
    made.ask(slot, 10)
    made.ask(slot, 20)
    made.engine.fail(slot, OSError("gone"))
    made.poll()

    assert made.lost == [10, 20]
    assert made.books.dropped == 2


def test_nothing_of_an_earlier_epoch_is_told_as_lost(clock: Clock) -> None:
    made = Started(Engine(clock), size=2)
    one, other = made.slots
    made.fail(one, OSError("before"))
    made.ask(other, 10)
    made.refuse_asked()
    assert made.lost == []
    made.engine.fail(other, OSError("after"))
    made.poll()

    assert made.lost == []
    assert made.books.dropped == 2


def test_to_start_over_gives_every_runner_another_seed(clock: Clock) -> None:
    made = Started(Engine(clock), size=2)
    before = [slot.seed for slot in made.slots]
    made.start_over()
    for slot in made.slots:
        made.ask(slot, 10)

    seeds = [request.seed for _, request in made.engine.requests]
    assert len({*before, *seeds}) == 4


def test_an_interrupt_at_no_line_spoils_the_books_where_runners_fail(clock: Clock) -> None:
    made = Started(Engine(clock), size=2, tolerance=replace(TOLERANCE, max_failures_in_a_row=10**6))
    one, other = made.slots

    def work() -> None:
        with held():
            made.fail(one, OSError("gone"))
            made.work(other)
            made.revive()

    lines = set()
    for where in interrupted_at_every_line(work, "execution/fleet.py", "execution/interrupts.py"):
        lines.add(where)
        made.revive()
        taken = [made.take() for _ in range(len(made.arrived))]
        made.lost.clear()
        books = made.books
        assert books.requested == books.delivered + books.dropped + made.num_in_flight, where
        assert len({delivery.receipt for delivery in taken}) == len(taken), where
        assert made.books.restarts == one.incarnation - 1 + other.incarnation - 1, where
        one.failures = 0  # or it would pause for longer every time
        made.refuse_asked()
    assert len(lines) > 60
