"""On means on; off means the undecorated function. Also: what the import of the package brings in."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from threading import Event, Thread
from typing import Any, ClassVar

import pytest

from rlmodule_specs import (
    CallChecker,
    Checker,
    SpecError,
    SpecType,
    TensorSpec,
    check,
    check_input_specs,
    checked,
    checks,
    switch,
)
from rlmodule_specs.switching import wanted_at_import


class Net:
    specs: ClassVar[SpecType] = ["obs"]

    @check_input_specs("specs")
    def forward(self, batch: object) -> object:
        return batch


@checked(x=int)
def function(x: object) -> object:
    return x


def everything(data: Any) -> list[object]:
    """Every way to check, each with data that breaks its spec."""
    call = CallChecker(["obs"], ["out"])
    return [
        check(data, ["obs"]),  # type: ignore[func-returns-value]  # None, and that it comes
        check(data, ["obs"], values=True),  # type: ignore[func-returns-value]
        Checker(["obs"]).check(data),
        Checker(["obs"], values=True).check(data),
        call.input(data),
        call.output(data, call.input(data)),
        Net().forward(data),
        function(data),
    ]


def test_off_checks_nothing() -> None:
    with checks("off"):
        assert not switch.on
        assert everything(3) == [None, None, (), (), (), (), 3, 3]
    assert switch.on


def test_problems_and_sizes_are_told_also_while_checks_are_off() -> None:
    with checks("off"):
        assert [problem.path for problem in Checker(["obs"]).problems({})] == ["obs"]
        with pytest.raises(SpecError):
            Checker(["obs"]).sizes({})


def test_each_way_to_check_is_on_again_after_the_block() -> None:
    with checks("off"):
        pass
    ways: list[Callable[[], object]] = [
        lambda: check(3, ["obs"]),
        lambda: Checker(["obs"]).check(3),
        lambda: Checker(["obs"], values=True).check(3),
        lambda: CallChecker(["obs"], None).input(3),
        lambda: CallChecker(None, ["obs"]).output(3),
        lambda: Net().forward(3),
        lambda: function("x"),
    ]
    for ask in ways:
        with pytest.raises(SpecError):
            ask()


def test_blocks_nest_and_end_also_when_they_raise() -> None:
    with checks("off"):
        with checks("on"):
            assert switch.on
            with checks("off"):
                assert not switch.on
            assert switch.on
        assert not switch.on
    with pytest.raises(KeyError), checks("off"):
        raise KeyError
    assert switch.on


def test_blocks_of_threads_may_end_in_any_order() -> None:
    opened, done = Event(), Event()

    def other() -> None:
        with checks("off"):
            opened.set()
            done.wait()

    thread = Thread(target=other)
    with checks("off"):
        thread.start()
        opened.wait()
    assert not switch.on
    done.set()
    thread.join()
    assert switch.on


def test_checks_between_input_and_output_of_one_call() -> None:
    call = CallChecker({"x": TensorSpec("b")}, {"y": TensorSpec("b")})
    numpy = pytest.importorskip("numpy")
    with checks("off"):
        sizes = call.input({"x": numpy.zeros(3)})
    call.output({"y": numpy.zeros(5)}, sizes)  # the input was not looked at: nothing is bound
    with pytest.raises(SpecError):
        call.output({"y": 5}, sizes)


@pytest.mark.parametrize("mode", ["Off", "", None, False])
def test_another_word_is_refused(mode: Any) -> None:
    with pytest.raises(ValueError, match=rf"^checks\(\) takes 'on' or 'off', got {mode!r}$"), checks(mode):
        pass


def run(code: str, setting: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "RLMODULE_CHECKS"}
    if setting is not None:
        environment["RLMODULE_CHECKS"] = setting
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_only_on_and_off_are_settings() -> None:
    assert [wanted_at_import(setting) for setting in (None, "", "on", "off")] == [True, True, True, False]
    with pytest.raises(ValueError, match=r"^RLMODULE_CHECKS must be 'on' or 'off', got 'OFF'$"):
        wanted_at_import("OFF")


UNDECORATED = """
import rlmodule_specs as r
def f(self, x): return x
print(r.check_input_specs("a")(f) is f, r.check_output_specs("a")(f) is f, r.checked(x=int)(f) is f)
print(r.switch.on)
r.check(3, str)
"""


def test_off_in_the_environment_means_the_undecorated_function() -> None:
    assert run(UNDECORATED, "off").stdout == "True True True\nFalse\n"


@pytest.mark.parametrize("setting", [None, "", "on"])
def test_on_is_the_default(setting: str | None) -> None:
    done = run(UNDECORATED, setting)
    assert done.stdout == "False False False\nTrue\n"
    assert "SpecError: the data breaks the spec in 1 place" in done.stderr


def test_another_word_in_the_environment_is_refused() -> None:
    assert (
        "RLMODULE_CHECKS must be 'on' or 'off', got 'false'" in run("import rlmodule_specs", "false").stderr
    )


def test_a_wrong_decorator_is_told_also_while_checks_are_off() -> None:
    code = "import rlmodule_specs as r\n@r.checked(y=int)\ndef f(x): ..."
    assert "f has no argument 'y'" in run(code, "off").stderr


FOREIGN = """
import sys
import rlmodule_specs
for name in rlmodule_specs.__all__:
    getattr(rlmodule_specs, name)
import rlmodule_specs.cli, rlmodule_specs.testing
rlmodule_specs.check({"a": [1]}, {"a": list})
foreign = ("numpy", "torch", "tensorflow", "jax", "keras", "pytest", "hypothesis")
print([name for name in foreign if name in sys.modules])
"""


def test_the_import_brings_in_no_framework() -> None:
    done = run(FOREIGN)
    assert done.stdout == "[]\n", done.stderr


def test_the_package_lists_its_names_and_its_version() -> None:
    import rlmodule_specs

    assert set(rlmodule_specs.__all__) <= set(dir(rlmodule_specs))
    assert rlmodule_specs.__version__ == version("rlmodule-specs")
    with pytest.raises(AttributeError, match=r"^module 'rlmodule_specs' has no attribute 'TensorSpek'$"):
        rlmodule_specs.TensorSpek  # noqa: B018 - the access is the test
