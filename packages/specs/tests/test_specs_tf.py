"""Inside tf.function: no operation added, no retrace, AutoGraph silent, unknown sizes accepted."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from rlmodule_specs import (
    CallChecker,
    Checker,
    SpecDict,
    SpecError,
    SpecType,
    TensorSpec,
    TfTensorSpec,
    check_input_specs,
    check_output_specs,
    checked,
    compiled,
    infer,
)

np: Any = pytest.importorskip("numpy")
tf: Any = pytest.importorskip("tensorflow")

INPUT: SpecType = {
    "obs": TensorSpec("b, h", h=4, dtype="float32"),
    "next": {"obs": TensorSpec("b, h")},
    "mask": TensorSpec("b, a", framework="tf"),
}
OUTPUT: SpecType = {"out": TensorSpec("..., h"), "b": TensorSpec("b")}
CALL = CallChecker(INPUT, OUTPUT)


def batch(rows: int, width: int = 4) -> dict[str, Any]:
    return {"obs": tf.ones((rows, width)), "mask": tf.ones((rows, 3)), "next": {"obs": tf.ones((rows, 4))}}


def bare(data: dict[str, Any]) -> dict[str, Any]:
    out = data["obs"] * 2
    if tf.reduce_sum(out) > 0:  # AutoGraph must turn this into tf.cond, below a checked method too
        out = out + 1
    return {"out": out, "b": tf.reduce_sum(data["mask"], -1)}


def with_calls(data: dict[str, Any]) -> dict[str, Any]:
    sizes = CALL.input(data)
    result = bare(data)
    CALL.output(result, sizes)
    return result


@checked(data=INPUT, returns=OUTPUT)
def with_function(data: dict[str, Any]) -> dict[str, Any]:
    return bare(data)


class Net:
    inputs: ClassVar[SpecType] = INPUT
    outputs: ClassVar[SpecType] = OUTPUT

    @check_input_specs("inputs")
    @check_output_specs("outputs")
    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        return bare(data)


def with_method(data: dict[str, Any]) -> dict[str, Any]:
    return NET.forward(data)


NET = Net()
WAYS = pytest.mark.parametrize("function", [with_calls, with_function, with_method, NET.forward])
Function = Callable[[dict[str, Any]], dict[str, Any]]
ROWS_4, ROWS_3 = tf.TensorSpec((None, 4)), tf.TensorSpec((None, 3))
ANY_ROWS = {"obs": ROWS_4, "mask": ROWS_3, "next": {"obs": ROWS_4}}


def operations(function: Any) -> list[str]:
    return [operation.type for operation in function.get_concrete_function(ANY_ROWS).graph.get_operations()]


@WAYS
def test_a_graph_is_the_graph_without_checks(function: Function, caplog: pytest.LogCaptureFixture) -> None:
    tf.get_logger().addHandler(caplog.handler)  # it hands nothing on to others
    try:
        assert operations(tf.function(function)) == operations(tf.function(bare))
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert caplog.messages == []


@WAYS
def test_a_graph_is_traced_as_often_as_without_checks(function: Function) -> None:
    counts = []
    for way in (bare, function):
        graph = tf.function(way, input_signature=[ANY_ROWS])
        for rows in (3, 5, 3, 8):
            assert graph(batch(rows))["out"].shape == (rows, 4)
        counts.append(graph.experimental_get_tracing_count())
    assert counts == [1, 1]


@WAYS
def test_wrong_data_is_refused_while_a_graph_is_traced(function: Function) -> None:
    graph = tf.function(function)
    for rows in (3, 4):
        with pytest.raises(SpecError, match=r"obs:  expected float32 \[b, 4\], got float32 \[\d, 5\]"):
            graph(batch(rows, width=5))
    graph(batch(3))


def test_sizes_that_a_graph_does_not_know_are_accepted_and_bind_nothing() -> None:
    seen: dict[str, object] = {}

    def look(some: Any, unknown: Any, late: Any) -> Any:
        data = {"some": some, "unknown": unknown, "late": late}
        spec: SpecType = {
            "some": TensorSpec("b, 4"),
            "unknown": TensorSpec("b, 9"),
            "late": TensorSpec("b, 7"),
        }
        seen["sizes"] = Checker(spec).sizes(data)
        seen["token"] = Checker(spec).check(data)
        seen["first"] = Checker(TensorSpec("b, _")).check(some)
        seen["values"] = Checker(TensorSpec("b, 4").within(5, 6), values=True).check(some)
        small = Checker(TensorSpec("3", dtype="int8"))
        seen["problems"] = [problem.found for problem in small.problems(unknown)]
        seen["text"] = [problem.found for problem in Checker(TensorSpec("b, 5")).problems(some)]
        return some

    shapes = [(None, 4), None, (3, None)]
    graph = tf.function(look, input_signature=[tf.TensorSpec(shape) for shape in shapes])
    graph(tf.zeros((2, 4)), tf.zeros(1), tf.zeros((3, 1)))
    assert seen == {
        "sizes": {"b": 3},
        "token": (3,),
        "first": (None,),
        "values": (None,),
        "problems": ["float32 [...]"],
        "text": ["[?, 4]"],
    }


def test_a_spec_is_inferred_from_what_a_graph_knows() -> None:
    specs = []

    def look(some: Any, unknown: Any) -> Any:
        specs.append(infer({"some": some, "unknown": unknown}, leading=()))
        return some

    tf.function(look, input_signature=[tf.TensorSpec((None, 4)), tf.TensorSpec(None)])(tf.zeros((2, 4)), 1.0)
    some, unknown = TfTensorSpec("_, 4", dtype="float32"), TfTensorSpec("...", dtype="float32")
    assert specs == [SpecDict({"some": some, "unknown": unknown})]


def test_a_reference_dtype_is_the_dtype_itself() -> None:
    assert TensorSpec("b", dtype=tf.as_dtype("float32_ref")).dtype == "float32"


def test_an_unknown_size_of_the_input_is_bound_by_the_output() -> None:
    call = CallChecker(TensorSpec("b, 4"), {"x": TensorSpec("b"), "y": TensorSpec("b")})
    told = []

    def look(data: Any) -> Any:
        sizes = call.input(data)
        call.output({"x": tf.zeros(3), "y": tf.zeros(3)}, sizes)
        try:
            call.output({"x": tf.zeros(3), "y": tf.zeros(5)}, sizes)
        except SpecError as error:
            told.append(error.problems[0].expected)
        return data

    tf.function(look, input_signature=[tf.TensorSpec((None, 4))])(tf.zeros((2, 4)))
    assert told == ["[b] with b=3 (bound by x)"]


def lines(spec: SpecType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is compiled for a spec, without what every check has."""
    sources: list[str] = []
    code = compiled._code

    def noted(source: str) -> Any:
        sources.append(source)
        return code(source)

    monkeypatch.setattr(compiled, "_code", noted)
    Checker(spec)
    body = sources[0].partition("while True:\n")[2].partition("    except")[0]
    return [line.strip() for line in body.splitlines()]


def test_an_eager_tensor_is_read_by_functions_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not public: a TensorFlow without them fails here, and is read as any other tensor."""
    float32, double = TfTensorSpec("b, 3", dtype="float32"), TfTensorSpec("b, 3", dtype="float64")
    spec = {0: float32, 1: double, 2: TfTensorSpec("..., b"), 3: TfTensorSpec("")}
    assert lines(spec, monkeypatch) == [
        "if type(data) not in CONTAINERS: break",
        "d1 = data[0]",
        "if R3(d1) != 1: break",
        "n0, s2, = R2(d1)",
        "if s2 != 3: break",
        "d3 = data[1]",
        "if R3(d3) != 2: break",
        "if not R2(d3) == (n0, 3, ): break",
        "d4 = data[2]",
        "d5 = R2(d4)",
        "if len(d5) < 1: break",
        "s6 = d5[-1]",
        "if s6 != n0: break",
        "d7 = data[3]",
        "if len(R2(d7)): break",
        "return (n0, )",
    ]


@pytest.mark.parametrize("dtype", [None, "float32", "bool", "string", "bfloat16"])
def test_a_right_eager_tensor_needs_no_walk_and_a_wrong_one_is_refused(
    dtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = Checker(TfTensorSpec("b, 2", dtype=dtype)).check
    wrong = [
        tf.zeros((3, 2), tf.int8),
        tf.zeros((3, 1), dtype or tf.int8),
        tf.zeros(2),
        np.zeros((3, 2)),
        Duck(),
    ]
    for data in wrong[dtype is None :]:
        with pytest.raises(SpecError):
            check(data)
    right = tf.zeros((3, 2), dtype or tf.int8)
    monkeypatch.setattr("rlmodule_specs.explain.Explanation.visit", None)  # calling it is an error
    assert check(right) == (3,)


class Duck:
    """Hands on to a tensor as TensorFlow's own wrappers do, and is none."""

    def __getattr__(self, name: str) -> Any:
        return getattr(tf.zeros((3, 2)), name)


def test_a_dtype_that_tensorflow_does_not_have_is_refused() -> None:
    with pytest.raises(SpecError, match=r"expected tf float8_e8m0fnu \[2\], got tf float32 \[2\]"):
        Checker(TfTensorSpec("2", dtype="float8_e8m0fnu")).check(tf.zeros(2))


LATE = """
from rlmodule_specs import Checker, TfTensorSpec
checker = Checker(TfTensorSpec("b", dtype="float32"))
import tensorflow as tf
value = tf.zeros(3)
checker.check(value)
from rlmodule_specs.explain import Explanation
Explanation.visit = None
checker.check(value)
"""
EARLY = """
import tensorflow as tf
from rlmodule_specs import Checker, TfTensorSpec
from rlmodule_specs.explain import Explanation
Explanation.visit = None
Checker(TfTensorSpec("b", dtype="float32")).check(tf.zeros(3))
"""


@pytest.mark.parametrize("code", [LATE, EARLY], ids=["late", "early"])
def test_tensors_need_no_walk_whenever_tensorflow_was_loaded(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
