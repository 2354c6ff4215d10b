"""Inside torch's own machinery: no graph break, no retrace, no operation added, wrong data refused."""

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from rlmodule_specs import (
    CallChecker,
    SpecError,
    SpecType,
    TensorSpec,
    check_input_specs,
    check_output_specs,
    checked,
)

torch: Any = pytest.importorskip("torch")
testing = pytest.importorskip("torch._dynamo.testing")

INPUT: SpecType = {
    "obs": TensorSpec("b, h", h=4, dtype="float32"),
    "next": {"obs": TensorSpec("b, h")},
    "mask": TensorSpec("b, a", framework="torch"),
}
OUTPUT: SpecType = {"out": TensorSpec("..., h"), "b": TensorSpec("b")}
CALL = CallChecker(INPUT, OUTPUT)


def batch(rows: int, width: int = 4) -> dict[str, Any]:
    return {"obs": torch.ones(rows, width), "mask": torch.ones(rows, 3), "next": {"obs": torch.ones(rows, 4)}}


def bare(data: dict[str, Any]) -> dict[str, Any]:
    return {"out": data["obs"] * 2, "b": data["mask"].sum(-1)}


def with_calls(data: dict[str, Any]) -> dict[str, Any]:
    sizes = CALL.input(data)
    result = bare(data)
    CALL.output(result, sizes)
    return result


@checked(data=INPUT, returns=OUTPUT)
def with_function(data: dict[str, Any]) -> dict[str, Any]:
    return bare(data)


Module: Any = torch.nn.Module


class Net(Module):  # type: ignore[misc]  # torch may be absent
    inputs: ClassVar[SpecType] = INPUT
    outputs: ClassVar[SpecType] = OUTPUT

    @check_input_specs("inputs")
    @check_output_specs("outputs")
    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        return bare(data)


NET = Net()
NET(batch(2))  # the specs of an object are read at its first call: a plain one, before it is compiled
WAYS = pytest.mark.parametrize(
    "function", [with_calls, with_function, NET], ids=["calls", "checked", "method"]
)
Function = Callable[[dict[str, Any]], dict[str, Any]]


def compiled(function: Function, **options: bool) -> tuple[Function, Any]:
    torch._dynamo.reset()
    counter = testing.CompileCounter()
    return torch.compile(function, backend=counter, **options), counter


@WAYS
def test_a_compiled_graph_is_the_graph_without_checks(function: Function) -> None:
    counts = []
    for way in (bare, function):
        fast, counter = compiled(way, fullgraph=True)
        for rows in (32, 32, 16, 8, 5, 5, 7):
            assert fast(batch(rows))["out"].shape == (rows, 4)
        counts.append((counter.frame_count, counter.op_count))
    assert counts[0] == counts[1]


@WAYS
def test_wrong_data_is_refused_in_compiled_code_at_every_call(function: Function) -> None:
    fast, _ = compiled(function)
    for call in range(3):
        with pytest.raises(SpecError, match=r"obs:  expected float32 \[b, 4\], got float32 \[3, 5\]"):
            fast(batch(3, width=5))
        assert fast(batch(3 + call))["out"].shape == (3 + call, 4)
    with pytest.raises(SpecError, match=r"with b=3 \(bound by (data\.)?obs\), got torch \[2, 3\]"):
        fast({**batch(3), "mask": torch.ones(2, 3)})


@WAYS
def test_an_exported_graph_is_the_graph_without_checks(function: Function) -> None:
    class Wrapped(Module):  # type: ignore[misc]  # torch may be absent
        def __init__(self, way: Function) -> None:
            super().__init__()
            self.way = way

        def forward(self, data: dict[str, Any]) -> dict[str, Any]:
            return self.way(data)

    rows = torch.export.Dim("rows", min=2, max=64)
    shapes = {"data": {"obs": {0: rows}, "mask": {0: rows}, "next": {"obs": {0: rows}}}}
    for strict in (False, True):
        graphs = []
        for way in (bare, function):
            program = torch.export.export(Wrapped(way), (batch(8),), dynamic_shapes=shapes, strict=strict)
            graphs.append([str(node.target) for node in program.graph.nodes])
            assert program.module()(batch(5))["out"].shape == (5, 4)
        assert graphs[0] == graphs[1]


def test_vmap_shows_a_check_the_shape_of_one_example() -> None:
    spec = TensorSpec("4", dtype="float32", framework="torch")

    @checked(x=spec, returns=TensorSpec(""))
    def norm(x: Any) -> Any:
        return (x * x).sum()

    assert torch.func.vmap(norm)(torch.ones(3, 4)).shape == (3,)
    assert torch.func.grad(norm)(torch.ones(4)).shape == (4,)
    with pytest.raises(SpecError, match=r"x:  expected torch float32 \[4\], got torch float32 \[5\]"):
        torch.func.vmap(norm)(torch.ones(3, 5))
