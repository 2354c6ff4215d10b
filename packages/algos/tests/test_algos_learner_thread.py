"""The thread that learns: whole updates, errors where they are waited for, an end in bounded time."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep

import numpy as np
import pytest

from interrupt_checks import interrupted_at_every_line
from rlmodule_algos.execution import LearnerThread, held, learner_thread


@pytest.fixture
def thread() -> Iterator[LearnerThread]:
    made = LearnerThread()
    yield made
    made.close()


def nothing() -> None:
    """Have nothing to attend to."""


def interrupt() -> None:
    raise KeyboardInterrupt


def until(event: threading.Event) -> Callable[[], str]:
    """Return work that ends with an event."""

    def work() -> str:
        assert event.wait(30)
        return "done"

    return work


def test_work_is_done_on_another_thread_while_one_attends_to_something_else(thread: LearnerThread) -> None:
    attended = threading.Event()

    def work() -> str:
        assert attended.wait(30)
        return threading.current_thread().name

    assert thread.run(work, attended.set) == "rlmodule-learner"
    assert thread.run(lambda: 2, nothing) == 2


def test_an_error_is_raised_with_its_traceback_and_the_next_work_is_done(thread: LearnerThread) -> None:
    def loss_that_fails() -> None:
        raise ArithmeticError("no loss")

    with pytest.raises(ArithmeticError, match="no loss") as caught:
        thread.run(loss_that_fails, nothing)

    assert "loss_that_fails" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert thread.run(lambda: "again", nothing) == "again"


def test_an_interrupt_is_raised_once_the_work_is_done(thread: LearnerThread) -> None:
    done = threading.Event()

    def work() -> None:
        threading.Event().wait(0.2)
        done.set()

    with pytest.raises(KeyboardInterrupt) as caught:
        thread.run(work, interrupt)

    assert done.is_set()
    assert not hasattr(caught.value, "__notes__")
    thread.require_idle("save")


def test_an_interrupt_tells_that_the_work_failed_as_well(thread: LearnerThread) -> None:
    def work() -> None:
        threading.Event().wait(0.2)
        raise ArithmeticError("no loss")

    with pytest.raises(KeyboardInterrupt) as caught:
        thread.run(work, interrupt)

    assert caught.value.__notes__ == ["The learner failed as well: ArithmeticError: no loss"]


def test_work_that_outlasts_an_interrupt_is_told_of_and_waited_for_by_the_next(
    thread: LearnerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    event = threading.Event()
    with pytest.raises(KeyboardInterrupt) as caught:
        thread.run(until(event), interrupt)

    assert caught.value.__notes__ == [
        "The learner is still at work on the batch that it was given; a program that ends now waits "
        "60 s for it at most."
    ]
    with pytest.raises(RuntimeError, match=r"save: a train\(\) that was interrupted.* is still learning"):
        thread.require_idle("save")
    order: list[str] = []

    def attend() -> None:
        if not event.is_set():  # on a busy machine it is called again before the work has ended
            order.append("attended")
        event.set()

    def work() -> None:
        order.append("next")

    thread.finish(attend)
    thread.run(work, nothing)
    assert order == ["attended", "next"]
    thread.require_idle("save")


def test_closing_does_not_wait_for_ever_for_work_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    thread, event = LearnerThread(), threading.Event()
    with pytest.raises(KeyboardInterrupt):
        thread.run(until(event), interrupt)
    begin = monotonic()
    thread.close()
    thread.close()

    assert monotonic() - begin < 10
    event.set()
    thread.close()


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    thread = LearnerThread()
    assert threading.active_count() == before + 1
    thread.run(nothing, nothing)
    thread.close()

    assert threading.active_count() == before


def test_what_a_learner_raises_after_its_caller_was_interrupted_is_raised_by_the_next(
    thread: LearnerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    event = threading.Event()

    def work() -> None:
        assert event.wait(30)
        raise ArithmeticError("no loss")

    with pytest.raises(KeyboardInterrupt):
        thread.run(work, interrupt)
    event.set()
    with pytest.raises(ArithmeticError, match="no loss"):
        thread.finish(nothing)
    thread.finish(nothing)
    assert thread.run(lambda: "again", nothing) == "again"


def test_what_attending_raises_tells_of_a_learner_that_failed_meanwhile(thread: LearnerThread) -> None:
    failed = threading.Event()

    def work() -> None:
        failed.set()
        raise ArithmeticError("no loss")

    def attend() -> None:
        assert failed.wait(30)
        sleep(0.1)
        raise RuntimeError("runners failed too often")

    def late() -> None:
        sleep(0.1)
        work()

    with pytest.raises(RuntimeError, match="too often") as caught:
        thread.run(late, attend)
    assert caught.value.__notes__ == ["The learner failed as well: ArithmeticError: no loss"]


def test_work_that_an_interrupt_kept_from_beginning_is_done_by_the_next(
    thread: LearnerThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)

    class Interrupted:
        def put(self, task: object) -> None:
            raise KeyboardInterrupt

    done = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(thread, "_tasks", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            thread.run(done.set, nothing)
    with pytest.raises(RuntimeError, match=r"did not come to learning from its batch; call train\(\) again"):
        thread.require_idle("save")
    thread.finish(nothing)

    assert done.is_set()


def test_an_interrupt_at_no_line_loses_work_or_what_it_raised(thread: LearnerThread) -> None:
    asked, done, raised = [], [], 0

    def work() -> None:
        done.append(True)
        raise ArithmeticError("no loss")

    def call() -> None:
        nonlocal raised
        with held():
            thread.finish(nothing)
            asked.append(True)
            try:
                thread.run(work, nothing)
            except ArithmeticError:
                raised += 1

    for where in interrupted_at_every_line(call, "execution/learner_thread.py"):
        with suppress(ArithmeticError):
            thread.finish(nothing)
        assert len(done) == len(asked), where
    assert raised > 0


def test_what_a_learner_raised_is_kept_until_it_was_raised(thread: LearnerThread) -> None:
    def work() -> None:
        raise ArithmeticError("no loss")

    class Watched(learner_thread._Task[None]):
        def outcome(self) -> None:
            assert thread._task is self
            super().outcome()

    thread._task = Watched(work)
    with pytest.raises(ArithmeticError, match="no loss"):
        thread.finish(nothing)
    thread.require_idle("save")


def test_everybody_who_waits_for_work_is_told_that_it_is_done() -> None:
    task, told = learner_thread._Task(lambda: None), list[bool]()
    waiting = [threading.Thread(target=lambda: told.append(task.wait(30))) for _ in range(3)]
    for one in waiting:
        one.start()
    begin = monotonic()
    task.do()
    for one in waiting:
        one.join()

    assert told == [True] * 3
    assert monotonic() - begin < 10


def test_work_for_a_thread_that_was_closed_is_refused_at_once() -> None:
    thread = LearnerThread()
    thread.close()
    begin = monotonic()
    with pytest.raises(RuntimeError, match="this algorithm was stopped, perhaps by another thread"):
        thread.run(nothing, interrupt)
    assert monotonic() - begin < 4
    thread.require_idle("save")


def test_closing_gives_up_work_that_did_not_begin() -> None:
    thread = LearnerThread()
    task = thread._task = learner_thread._Task(nothing)
    thread.close()

    assert task.wait(0.0)
    thread.require_idle("save")
    with pytest.raises(RuntimeError, match="stopped"):
        thread.finish(nothing)


def test_work_is_done_once_however_often_it_is_begun() -> None:
    times: list[int] = []
    task = learner_thread._Task(lambda: times.append(1))
    for _ in range(3):
        task.do()

    assert task.wait(0.0)
    assert times == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a callback of threading
def test_interrupts_at_any_time_leave_a_learner_that_goes_on(thread: LearnerThread) -> None:
    """Real signals, at times that differ from call to call by less than a call takes."""
    done: list[int] = []

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for number in range(300):
            with suppress(KeyboardInterrupt):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 + 1e-6 * number)
                    thread.finish(nothing)
                    thread.run(lambda number=number: done.append(number), nothing)  # type: ignore[misc]
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    thread.finish(nothing)

    assert thread.run(lambda: "goes on", nothing) == "goes on"
    assert done == sorted(set(done))
    assert len(done) > 100


PROGRAM = """
import os, signal, sys, threading, time
from rlmodule_algos.execution import LearnerThread, learner_thread

learner_thread.EXIT_S = float(sys.argv[1])

def press():
    os.kill(os.getpid(), signal.SIGINT)

def update():
    import torch
    weights = torch.zeros(300, 300, requires_grad=True)
    begin = time.monotonic()
    pressed.set()
    while time.monotonic() < begin + 3:
        (weights @ weights).sum().backward()
    print("whole")

def for_ever():
    pressed.set()
    threading.Event().wait()

def presses():
    pressed.wait()
    for _ in range(int(sys.argv[3])):
        time.sleep(0.3)
        press()

pressed = threading.Event()
thread = LearnerThread()
threading.Thread(target=presses, daemon=True).start()
try:
    thread.run({"update": update, "for_ever": for_ever}[sys.argv[2]], lambda: None)
finally:
    learner_thread.SETTLE_S = 0.1
    thread.close()
"""


def ended(*given: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, given)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.parametrize("times", [1, 2])
def test_a_program_that_is_interrupted_waits_for_an_update_before_it_ends(times: int) -> None:
    pytest.importorskip("torch")
    done = ended(60, "update", times)

    assert done.returncode == -signal.SIGINT, done.stderr
    assert "KeyboardInterrupt" in done.stderr
    assert "terminate" not in done.stderr
    assert done.stdout == "whole\n"


def test_a_program_whose_learner_never_ends_does_end() -> None:
    done = ended(0.5, "for_ever", 2)

    assert done.returncode == -signal.SIGINT, done.stderr


def test_what_numpy_does_about_errors_is_the_same_on_the_thread(thread: LearnerThread) -> None:
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        thread.run(lambda: np.float32(3e38) * np.float32(10), nothing)


class Batch:
    """Something large."""


def test_nothing_is_kept_of_work_that_is_done_or_failed(thread: LearnerThread) -> None:
    def give(batch: Batch) -> Callable[[], Batch]:
        return lambda: batch

    def fail(batch: Batch) -> Callable[[], None]:
        def work() -> None:
            assert batch is None, "as it should"

        return work

    kept = []
    gc.disable()
    try:
        for make in (give, fail):
            batch = Batch()
            kept.append(weakref.ref(batch))
            with suppress(AssertionError):
                thread.run(make(batch), nothing)
            del batch
        deadline = monotonic() + 5  # the thread may be about to let go of it
        while any(reference() is not None for reference in kept) and monotonic() < deadline:
            sleep(0.01)
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()
