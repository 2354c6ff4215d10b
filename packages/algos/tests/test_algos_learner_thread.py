"""The thread that learns: whole updates, errors where they are waited for, an end in bounded time."""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep

import pytest

from rlmodule_algos.execution import LearnerThread, learner_thread


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

    assert caught.value.__notes__ == ["The learner is still at work on the batch that it was given."]
    with pytest.raises(RuntimeError, match=r"save: a train\(\) that was interrupted is still learning"):
        thread.require_idle("save")
    order: list[str] = []

    def attend() -> None:
        order.append("attended")
        event.set()

    def work() -> None:
        order.append("next")

    thread.run(work, attend)
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


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    thread = LearnerThread()
    assert threading.active_count() == before + 1
    thread.run(nothing, nothing)
    thread.close()

    assert threading.active_count() == before


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
