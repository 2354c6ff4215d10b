"""What is compiled: the code is as the module shows it, and it accepts nothing that the walk refuses."""

import inspect
import subprocess
import sys
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from textwrap import dedent
from typing import Any

import pytest

from rlmodule_specs import CallChecker, Checker, SpecError, SpecType, TensorSpec, TorchTensorSpec, compiled


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The source of each check that is compiled."""
    sources: list[str] = []
    code = compiled._code

    def noted(source: str) -> Any:
        sources.append(source)
        return code(source)

    monkeypatch.setattr(compiled, "_code", noted)
    return sources


def test_the_code_is_as_the_modules_docstring_shows_it(written: list[str]) -> None:
    Checker({"obs": TensorSpec("b, h", h=10, dtype="float32")})
    shown = dedent((inspect.getdoc(compiled) or "").partition("it is:\n\n")[2].partition("\n\n`T3`")[0])
    lines = [line.strip() for line in shown.splitlines()]
    assert [line.strip() for line in written[0].splitlines()] == lines


def body(source: str) -> list[str]:
    lines = [line.strip() for line in source.splitlines()]
    return lines[lines.index("while True:") + 1 : lines.index("except Exception: pass")]


def test_each_rule_is_one_line(written: list[str]) -> None:
    leaf = TensorSpec("b, 3", dtype="float32")
    Checker({"x": leaf, "y": leaf, "k": (int, str), "z": {0: TensorSpec("..., b, _"), 1: None}}, exact=True)
    assert body(written[0]) == [
        "if len(data) != 4: break",
        "d1 = data if type(data) is dict else as_dict(data, K2)",
        "d2 = d1['x']",
        "if T3[type(d2)] is not d2.dtype: break",
        "n0, s3, = d2.shape",
        "if s3 != 3: break",
        "d4 = d1['y']",
        "if T3[type(d4)] is not d4.dtype: break",
        "if not d4.shape == (n0, 3, ): break",
        "d5 = d1['k']",
        "if not isinstance(d5, C4): break",
        "d6 = d1['z']",
        "if len(d6) != 2: break",
        "if type(d6) not in CONTAINERS: break",
        "d7 = d6[0]",
        "if type(d7) not in T5: break",
        "d8 = d7.shape",
        "if len(d8) < 2: break",
        "s9 = d8[-2]",
        "if s9 != n0: break",
        "d10 = d6[1]",
        "return (n0, )",
    ]


def test_an_abstract_class_is_only_asked_about_classes_that_were_not_there_when_the_spec_was_compiled(
    written: list[str],
) -> None:
    class Shape(ABC):
        @abstractmethod
        def area(self) -> float: ...

    class Round(Shape): ...

    class Circle(Round):
        def area(self) -> float:
            return 1.0

    asked: list[type] = []

    class Asking(Shape):
        @classmethod
        def __subclasshook__(cls, subclass: type) -> Any:
            asked.append(subclass)
            return NotImplemented

    checker = Checker({"shape": (Asking, Shape)})
    assert body(written[0])[-2] == "if type(d2) not in K3 and not isinstance(d2, C4): break"

    asked.clear()

    checker.check({"shape": Circle()})
    assert not asked

    class Square(Shape):
        def area(self) -> float:
            return 1.0

    class Foreign: ...

    Shape.register(Foreign)
    checker.check({"shape": Square()})
    checker.check({"shape": Foreign()})
    assert Square in asked
    with pytest.raises(SpecError, match="got int"):
        checker.check({"shape": 3})


def test_the_names_of_the_input_come_with_the_sizes(written: list[str]) -> None:
    CallChecker(TensorSpec("b, a"), TensorSpec("b, c"))
    assert body(written[1]) == [
        "n0, n1, = sizes",
        "if type(data) not in T2: break",
        "s1, n2, = data.shape",
        "if s1 != n0: break",
        "return (n0, n1, n2, )",
    ]


def test_equal_specs_are_parsed_once() -> None:
    compiled._code.cache_clear()
    for _ in range(3):
        Checker({"obs": TensorSpec("b, 11")})
    assert compiled._code.cache_info()[:4] == (2, 1, 1024, 1)


def test_nothing_is_compiled_where_nothing_is_asked(written: list[str]) -> None:
    assert Checker(None).check(object()) == ()
    call = CallChecker(TensorSpec("b"), None)
    assert call.output(object(), (3,)) == (3,)
    assert len(written) == 1


SEQUENCES: list[tuple[Any, bool]] = [
    ([1, "x"], True),
    ((1, "x"), True),
    ({0: 1, 1: "x"}, True),
    (defaultdict(list, {0: 1, 1: "x"}), True),
    (deque([1, "x"]), False),
    ("1x", False),
    (defaultdict(int), False),
]


@pytest.mark.parametrize(("data", "right"), SEQUENCES, ids=str)
def test_only_lists_tuples_and_mappings_have_elements(data: Any, right: bool) -> None:
    spec: SpecType = {0: int, 1: str}
    before = len(data)
    if right:
        Checker(spec, exact=True).check(data)
    else:
        with pytest.raises(SpecError):
            Checker(spec).check(data)
    assert len(data) == before  # a defaultdict would have grown


def test_a_right_parameter_needs_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    checker = Checker(TorchTensorSpec("b, 3", dtype="float32"))
    monkeypatch.setattr("rlmodule_specs.explain.Explanation.visit", None)  # calling it is an error
    checker.check(torch.nn.Parameter(torch.zeros(2, 3)))


LATE = """
from rlmodule_specs import Checker, TensorSpec
checker = Checker(TensorSpec("b", dtype="float32"))
import {module}
value = {module}.zeros(3, dtype={module}.float32)
checker.check(value)
from rlmodule_specs.explain import Explanation
Explanation.visit = None
checker.check(value)
"""
EARLY = """
import {module}
from rlmodule_specs import Checker, TensorSpec
from rlmodule_specs.explain import Explanation
Explanation.visit = None
Checker(TensorSpec("b", dtype="float32")).check({module}.zeros(3, dtype={module}.float32))
"""


@pytest.mark.parametrize("module", ["numpy", "torch"])
@pytest.mark.parametrize("code", [LATE, EARLY], ids=["late", "early"])
def test_arrays_need_no_walk_whenever_their_framework_was_loaded(module: str, code: str) -> None:
    pytest.importorskip(module)
    command = [sys.executable, "-c", code.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
