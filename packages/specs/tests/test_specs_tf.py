"""Inside tf.function: no operation added, no retrace, AutoGraph silent, unknown sizes accepted."""

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
    infer,
)

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
