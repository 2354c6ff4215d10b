"""Ctrl-C at any line of the calling thread: where it is held back, where it is not, the books after it."""

from __future__ import annotations

import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from interrupt_checks import interrupted_at_every_line
from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner import ActorLearner
from rlmodule_algos.execution import LearnerThread, held, learner_thread, released

FILES = (
    "actor_learner/algorithm.py",
    "appo/appo.py",
    "impala/impala.py",
    "execution/circular_buffer.py",
    "execution/interrupts.py",
    "execution/learner_thread.py",
    "execution/pool.py",
)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def pressed() -> Iterator[list[int]]:
    """Note each SIGINT in place of raising anything."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGINT, before)


# --- held and released ------------------------------------------------------------------------


def test_an_interrupt_is_raised_where_the_outermost_held_ends() -> None:
    done = []

    def work() -> None:
        with held():
            with held():
                press()
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_once_where_it_is_released_and_held_again_after() -> None:
    done = []

    def work() -> None:
        with held():
            with suppress(KeyboardInterrupt), released():
                press()
                done.append("released")
            press()
            done.append("held again")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["held again"]


def test_an_interrupt_from_before_is_raised_where_it_is_released() -> None:
    done = []
    with held():
        press()
        with pytest.raises(KeyboardInterrupt), released():
            done.append("released")

    assert done == []


def test_what_is_held_inside_of_what_is_released_is_held(pressed: list[int]) -> None:
    with held():
        with released():
            with held():
                press()
                assert pressed == []
            assert pressed == [signal.SIGINT]
            press()
        assert len(pressed) == 2
        press()
        assert len(pressed) == 2
    assert len(pressed) == 3


def test_the_handler_of_the_program_is_called_once_and_is_there_again(pressed: list[int]) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with held():
        press()
        press()
    assert pressed == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is handler

    with pytest.raises(ArithmeticError), held():
        raise ArithmeticError
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_handler_that_is_set_inside_stays(pressed: list[int]) -> None:
    other: list[int] = []

    def handler(number: int, frame: object) -> None:
        other.append(number)

    with held():
        signal.signal(signal.SIGINT, handler)
    assert signal.getsignal(signal.SIGINT) is handler
    press()
    assert (other, pressed) == ([signal.SIGINT], [])


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_program_that_has_no_handler_of_its_own_keeps_none(pressed: list[int], handler: Any) -> None:
    signal.signal(signal.SIGINT, handler)
    with held(), released():
        assert signal.getsignal(signal.SIGINT) is handler


def test_other_threads_hold_nothing_back_and_release_nothing(pressed: list[int]) -> None:
    handlers: list[Any] = []

    def other(kind: Callable[[], AbstractContextManager[None]]) -> None:
        def work() -> None:
            with kind():
                handlers.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    before = signal.getsignal(signal.SIGINT)
    other(held)
    with held():
        inside = signal.getsignal(signal.SIGINT)
        other(released)
        press()
        assert pressed == []
    assert handlers == [before, inside]


def test_no_line_of_held_and_released_lets_the_handler_be_lost() -> None:
    def call() -> None:
        with held(), held(), released(), held():
            pass

    for where in interrupted_at_every_line(call, "execution/interrupts.py"):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where


def test_an_exception_of_another_handler_at_no_line_takes_ctrl_c_from_the_program() -> None:
    """It may come where a `with` ends, before that is noted."""

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    def call() -> None:
        with held(), released(), held():
            pass

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for where in interrupted_at_every_line(call, "execution/interrupts.py", by=signal.SIGALRM):
            with pytest.raises(KeyboardInterrupt):
                press()
            with held():
                pass
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, where
    finally:
        signal.signal(signal.SIGALRM, before)


# --- the books of IMPALA and APPO -------------------------------------------------------------


def built(kind: type[ImpalaConfig | APPOConfig], env: Any = "CartPole-v1") -> ActorLearner[Any]:
    pytest.importorskip("torch")
    algorithm = (
        kind()
        .environment(env)
        .env_runners(num_envs_per_env_runner=2, rollout_fragment_length=4)
        .training(train_batch_size=8, model={"fcnet_hiddens": [4]})
        .debugging(seed=0)
        .build()
    )
    assert isinstance(algorithm, ActorLearner)
    return algorithm


def off_the_books(algorithm: ActorLearner[Any]) -> int:
    return algorithm.env_steps - algorithm._trained - algorithm._dropped - algorithm._in_flight


@pytest.mark.parametrize("kind", [ImpalaConfig, APPOConfig])
@pytest.mark.parametrize("make", [nullcontext, LearnerThread])
def test_an_interrupt_at_no_line_of_an_iteration_loses_a_step(
    kind: type[ImpalaConfig | APPOConfig], make: Callable[[], Any]
) -> None:
    with built(kind) as algorithm:
        if make is LearnerThread:
            algorithm._thread = LearnerThread()
        for _ in range(3):
            algorithm.train()
        lines = set()
        for where in interrupted_at_every_line(algorithm.training_step, *FILES):
            lines.add(where)
            assert off_the_books(algorithm) == 0, where
        algorithm.train()

        assert off_the_books(algorithm) == 0
        assert len(lines) > 60


# --- what stays interruptible -----------------------------------------------------------------


class Pressed(CartPoleEnv):
    """Presses Ctrl-C in a step when it is told to."""

    armed = False
    went_on = False

    def step(self, action: Any) -> Any:
        if Pressed.armed:
            Pressed.armed = False
            press()
            Pressed.went_on = True
        return super().step(action)  # type: ignore[no-untyped-call]


def test_an_environment_in_the_process_is_interrupted_at_once() -> None:
    Pressed.went_on = False
    with built(ImpalaConfig, Pressed) as algorithm:
        algorithm.train()
        Pressed.armed = True
        with pytest.raises(KeyboardInterrupt):
            algorithm.train()

        assert not Pressed.went_on
        assert off_the_books(algorithm) == 0


def test_an_update_in_the_process_is_interrupted_at_once() -> None:
    went_on = []
    with built(APPOConfig) as algorithm:
        algorithm.train()
        update = algorithm.learner.update

        def slow(*given: Any, **named: Any) -> Any:
            press()
            went_on.append(True)
            return update(*given, **named)

        algorithm.learner.update = slow  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            algorithm.train()

        assert not went_on
        assert off_the_books(algorithm) == 0


def test_waiting_for_the_learner_is_interrupted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    thread, ended = LearnerThread(), threading.Event()
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with held(), pytest.raises(KeyboardInterrupt):
        thread.run(lambda: ended.wait(30), lambda: None)

    assert not ended.is_set()
    ended.set()
    thread.close()


# --- what is refused while an interrupted update goes on --------------------------------------


REFUSED: dict[str, Callable[[ActorLearner[Any], Any], object]] = {
    "save": lambda algorithm, path: algorithm.save(path),
    "restore": lambda algorithm, path: algorithm.restore(path),
    "get_state": lambda algorithm, path: algorithm.get_state(),
    "set_state": lambda algorithm, path: algorithm.set_state(defaultdict(dict)),
    "evaluate": lambda algorithm, path: algorithm.evaluate(1),
    "compute_single_action": lambda algorithm, path: algorithm.compute_single_action(np.zeros(4, np.float32)),
    "add_module": lambda algorithm, path: algorithm.add_module("other"),
    "remove_module": lambda algorithm, path: algorithm.remove_module("default_policy"),
}


@pytest.mark.parametrize("kind", [ImpalaConfig, APPOConfig])
def test_calls_that_meet_half_an_update_are_refused_by_name(
    kind: type[ImpalaConfig | APPOConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(learner_thread, "SETTLE_S", 0.1)
    goes_on = threading.Event()
    with built(kind) as algorithm:
        algorithm._thread = LearnerThread()
        algorithm.train()
        learn = algorithm.learn

        def slow(batch: Any) -> Any:
            assert goes_on.wait(30)
            return learn(batch)

        algorithm.learn = slow  # type: ignore[method-assign]
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            algorithm.train()
        for name, call in REFUSED.items():
            with pytest.raises(RuntimeError, match=rf"^{name}: a train\(\) .* is still learning from its"):
                call(algorithm, tmp_path)
        goes_on.set()
        algorithm.train()

        assert off_the_books(algorithm) == 0
        for name in ("evaluate", "compute_single_action", "save", "restore"):
            REFUSED[name](algorithm, tmp_path)
