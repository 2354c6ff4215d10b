"""One grammar, every framework: the same verdicts and the same words for NumPy, torch, TensorFlow and JAX.

A framework that is not installed is skipped, and the skip says so; JAX has an environment of its own.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from rlmodule_specs import (
    CallChecker,
    Checker,
    JaxTensorSpec,
    NumpyTensorSpec,
    SpecError,
    SpecType,
    TensorSpec,
    TfTensorSpec,
    TorchTensorSpec,
    check,
)
from rlmodule_specs.frameworks import Framework, framework_of, read_tensor

MODULES = {"numpy": "numpy", "torch": "torch", "tf": "tensorflow", "jax": "jax"}
SPECS = {"numpy": NumpyTensorSpec, "torch": TorchTensorSpec, "tf": TfTensorSpec, "jax": JaxTensorSpec}
INSTALLED = [name for name, module in MODULES.items() if find_spec(module)]


@pytest.fixture(params=list(MODULES))
def framework(request: pytest.FixtureRequest) -> Framework:
    name: Framework = request.param
    if name not in INSTALLED:
        pytest.skip(f"{name} IS NOT INSTALLED: nothing about its values was tested")
    return name


def zeros(framework: str, *shape: int, dtype: str = "float32") -> Any:
    if framework == "tf":
        tensorflow = import_module("tensorflow")
        return tensorflow.zeros(shape, getattr(tensorflow, dtype))
    module = import_module("jax.numpy" if framework == "jax" else MODULES[framework])
    return module.zeros(shape, dtype=getattr(module, dtype))


def told(data: object, spec: Any, **options: bool) -> list[str]:
    """Each problem as path, expected and found; also checks that every way to check agrees."""
    checker = Checker(spec, **options)
    problems = checker.problems(data)
    for _ in range(2):  # the second time the class of the values is known
        if problems:
            with pytest.raises(SpecError) as refused:
                checker.check(data)
            assert refused.value.problems == problems
        else:
            checker.check(data)
    return [f"{problem.path}: {problem.expected} | {problem.found}" for problem in problems]


GOOD = [
    ("", ()),
    ("b", (0,)),
    ("b, 4", (3, 4)),
    ("_, 4", (3, 4)),
    ("b, _", (3, 4)),
    ("...", ()),
    ("...", (2, 3)),
    ("..., 4", (4,)),
    ("..., 4", (1, 2, 3, 4)),
    ("b, ...", (3,)),
    ("b, ...", (3, 4, 5)),
    ("b, ..., 5", (3, 5)),
    ("b, ..., 5", (3, 4, 4, 5)),
    ("n, n", (3, 3)),
    ("n, ..., n", (3, 2, 3)),
]


@pytest.mark.parametrize(("shape", "size"), GOOD)
def test_a_shape_that_fits_is_accepted(framework: str, shape: str, size: tuple[int, ...]) -> None:
    value = zeros(framework, *size)
    for spec in (TensorSpec(shape), TensorSpec(shape, dtype="float32"), SPECS[framework](shape)):
        assert told(value, spec) == []
        assert told({"x": value}, {"x": spec}, exact=True) == []


BAD = [
    ("", (3,), ": [] | [3]"),
    ("b", (), ": [b] | []"),
    ("b, 4", (3, 5), ": [b, 4] | [3, 5]"),
    ("b, 4", (4, 3), ": [b, 4] | [4, 3]"),
    ("b, 4", (3, 4, 1), ": [b, 4] | [3, 4, 1]"),
    ("b, 4", (4,), ": [b, 4] | [4]"),
    ("_, 4", (4, 1), ": [_, 4] | [4, 1]"),
    ("..., 4", (), ": [..., 4] | []"),
    ("..., 4", (4, 5), ": [..., 4] | [4, 5]"),
    ("b, ..., 5", (5,), ": [b, ..., 5] | [5]"),
    ("2, ..., 5", (3, 5), ": [2, ..., 5] | [3, 5]"),
    ("n, n", (3, 4), ": [n, n] with n=3 (bound by (root)) | [3, 4]"),
    ("n, ..., n", (3, 1, 4), ": [n, ..., n] with n=3 (bound by (root)) | [3, 1, 4]"),
]


@pytest.mark.parametrize(("shape", "size", "problem"), BAD)
def test_a_shape_that_does_not_fit_is_refused(
    framework: str, shape: str, size: tuple[int, ...], problem: str
) -> None:
    assert told(zeros(framework, *size), TensorSpec(shape)) == [problem]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "float32", "bfloat16", "complex64"])
def test_a_dtype_is_compared_by_name(framework: str, dtype: str) -> None:
    if framework == "numpy" and dtype == "bfloat16":
        pytest.skip("NumPy has no bfloat16")
    value = zeros(framework, 2, dtype=dtype)
    assert told(value, TensorSpec("b", dtype=dtype)) == []
    assert told(value, TensorSpec("b", dtype=value.dtype)) == []
    assert told(value, SPECS[framework]("b", dtype=value.dtype)) == []
    other = "int8" if dtype != "int8" else "bool"
    assert told(value, TensorSpec("b", dtype=other)) == [f": {other} [b] | {dtype} [2]"]


def test_a_dtype_is_given_as_the_frameworks_object(framework: str) -> None:
    module: Any = import_module("jax.numpy" if framework == "jax" else MODULES[framework])
    assert TensorSpec("b", dtype=module.float32).dtype == "float32"
    assert TensorSpec("b", dtype=module.int8) == TensorSpec("b", dtype="int8")


@pytest.mark.parametrize("asked", list(MODULES))
def test_the_framework_is_compared(framework: str, asked: str) -> None:
    value = zeros(framework, 2, 3)
    expected = [] if asked == framework else [f": {asked} [b, 3] | {framework} [2, 3]"]
    assert told(value, TensorSpec("b, 3", framework=asked)) == expected
    assert told(value, SPECS[asked]("b, 3")) == expected


def test_everything_that_is_asked_for_is_shown_and_nothing_else(framework: str) -> None:
    value = zeros(framework, 2, 3)
    spec = SPECS[framework]("b, h", h=4, dtype="int32")
    assert told(value, spec) == [f": {framework} int32 [b, 4] | {framework} float32 [2, 3]"]
    assert told({"x": value}, {"x": int}) == [f"x: int | {framework} float32 [2, 3]"]
    assert told({"x": value}, {"x": ["y"]}) == [f"x: a mapping with key 'y' | {framework} float32 [2, 3]"]
    assert told({"x": value}, {}, exact=True) == [f"x: no such key | {framework} float32 [2, 3]"]


def test_a_name_is_bound_across_the_structure(framework: str) -> None:
    spec: SpecType = {"obs": TensorSpec("b, h"), "in": {"mask": TensorSpec("b, a")}, "w": TensorSpec("h, a")}
    data = {
        "obs": zeros(framework, 32, 4),
        "in": {"mask": zeros(framework, 32, 5)},
        "w": zeros(framework, 4, 5),
    }
    assert told(data, spec) == []
    assert Checker(spec).sizes(data) == {"b": 32, "h": 4, "a": 5}
    data["in"] = {"mask": zeros(framework, 16, 5)}
    data["w"] = zeros(framework, 5, 4)
    assert told(data, spec) == [
        "in.mask: [b, a] with b=32 (bound by obs) | [16, 5]",
        "w: [h, a] with h=4 (bound by obs), a=5 (bound by in.mask) | [5, 4]",
    ]


def test_a_leaf_that_is_wrong_still_binds_when_its_rank_is_right(framework: str) -> None:
    spec = {"a": TensorSpec("b, 4"), "c": TensorSpec("b, n"), "d": TensorSpec("n")}
    data = {"a": zeros(framework, 3, 5), "c": zeros(framework, 2, 2, 2), "d": zeros(framework, 7)}
    assert told(data, spec) == ["a: [b, 4] | [3, 5]", "c: [b, n] | [2, 2, 2]"]
    data["c"] = zeros(framework, 2, 2)
    assert told(data, spec) == [
        "a: [b, 4] | [3, 5]",
        "c: [b, n] with b=3 (bound by a) | [2, 2]",
        "d: [n] with n=2 (bound by c) | [7]",
    ]


def test_a_size_given_by_keyword_holds_for_the_whole_check(framework: str) -> None:
    spec = {"first": TensorSpec("h, a"), "second": TensorSpec("b, h", h=10)}
    data = {"first": zeros(framework, 10, 2), "second": zeros(framework, 3, 10)}
    assert told(data, spec) == []
    data["first"] = zeros(framework, 9, 2)
    assert told(data, spec) == ["first: [h, a] with h=10 (set by second) | [9, 2]"]
    data["second"] = zeros(framework, 3, 9)
    assert told(data, spec)[1:] == ["second: [b, 10] | [3, 9]"]


def test_names_carry_over_from_the_input_to_the_output(framework: str) -> None:
    call = CallChecker(
        {"obs": TensorSpec("b, 4")}, {"out": TensorSpec("b, a"), "v": TensorSpec("a")}, where="Net.forward"
    )
    sizes = call.input({"obs": zeros(framework, 3, 4)})
    call.output({"out": zeros(framework, 3, 2), "v": zeros(framework, 2)}, sizes)
    with pytest.raises(SpecError) as refused:
        call.output({"out": zeros(framework, 5, 2), "v": zeros(framework, 2)}, sizes)
    assert str(refused.value) == (
        "Net.forward: the result breaks the output spec in 1 place\n"
        "  out:  expected [b, a] with b=3 (bound by obs of the batch), got [5, 2]"
    )


def test_a_size_given_by_keyword_holds_on_the_other_side_of_a_call(framework: str) -> None:
    call = CallChecker(TensorSpec("h, a"), {"x": TensorSpec("a"), "y": TensorSpec("h", h=10)})
    sizes = call.input(zeros(framework, 10, 2))
    call.output({"x": zeros(framework, 2), "y": zeros(framework, 10)}, sizes)
    with pytest.raises(SpecError) as refused:
        call.input(zeros(framework, 9, 2))
    assert refused.value.problems[0].expected == "[h, a] with h=10 (set by y of the result)"
    with pytest.raises(SpecError) as refused:
        call.output({"x": zeros(framework, 3), "y": zeros(framework, 10)}, sizes)
    assert refused.value.problems[0].expected == "[a] with a=2 (bound by (root) of the batch)"
    other = CallChecker(TensorSpec("h", h=3), TensorSpec("h"))
    with pytest.raises(SpecError) as refused:
        other.output(zeros(framework, 4), other.input(zeros(framework, 3)))
    assert refused.value.problems[0].expected == "[h] with h=3 (set by (root) of the batch)"


def test_two_frameworks_in_one_structure() -> None:
    if len(INSTALLED) < 2:
        pytest.skip("ONE FRAMEWORK IS INSTALLED: nothing about two was tested")
    first, second = INSTALLED[:2]
    spec = {"a": SPECS[first]("b"), "c": SPECS[second]("b")}
    assert told({"a": zeros(first, 3), "c": zeros(second, 3)}, spec) == []
    assert told({"a": zeros(first, 3), "c": zeros(second, 4)}, spec) == [
        f"c: {second} [b] with b=3 (bound by a) | {second} [4]"
    ]


def test_the_facts_of_a_value(framework: Framework) -> None:
    assert read_tensor(zeros(framework, 2, 3)) == (framework, "float32", (2, 3))
    assert framework_of(zeros(framework)) == framework
    assert framework_of([1.0]) is None
    assert read_tensor("x") is None


def test_numpy_scalars_are_arrays_of_rank_0() -> None:
    numpy = pytest.importorskip("numpy")
    for scalar in (numpy.float32(1), numpy.bool_(True), numpy.int64(2)):
        assert told(scalar, TensorSpec("", dtype=scalar.dtype)) == []
        assert told(scalar, NumpyTensorSpec("...")) == []
        assert told(scalar, TensorSpec("b")) == [": [b] | []"]
    assert TensorSpec("b", dtype=numpy.float32).dtype == "float32"
    assert TensorSpec("b", dtype=numpy.dtype(">f4")).dtype == "float32"
    assert told(numpy.zeros(2, ">f4"), TensorSpec("b", dtype="float32")) == []
    assert TensorSpec("b", dtype=numpy.dtype("datetime64[ns]")).dtype == "datetime64[ns]"
    with pytest.raises(ValueError, match="dtype must be a name such as 'float32'"):
        TensorSpec("b", dtype=numpy.floating)


def test_subclasses_of_arrays_are_arrays() -> None:
    numpy = pytest.importorskip("numpy")
    masked = numpy.ma.zeros((2, 3))
    assert told(masked, NumpyTensorSpec("b, 3", dtype="float64")) == []


def test_parameters_variables_and_subclasses_are_tensors() -> None:
    torch = pytest.importorskip("torch")

    Mine = type("Mine", (torch.Tensor,), {})

    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    spec = TorchTensorSpec("b, 3", dtype="float32")
    for value in (parameter, torch.zeros(2, 3).as_subclass(Mine), torch.zeros(2, 3, device="meta")):
        assert told(value, spec) == []
        assert told(value, TorchTensorSpec("b, 4")) == [": torch [b, 4] | torch [2, 3]"]


def test_tensorflow_variables_are_tensors_and_ragged_ones_are_not() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    variable = tensorflow.Variable(tensorflow.zeros((2, 3)))
    assert told(variable, TfTensorSpec("b, 3", dtype="float32")) == []
    assert told(variable, TfTensorSpec("b, 4")) == [": tf [b, 4] | tf [2, 3]"]
    ragged = tensorflow.ragged.constant([[1], [2, 3]])
    assert "RaggedTensor" in told(ragged, TensorSpec("b, _"))[0]
    assert told(tensorflow.constant("x"), TensorSpec("", dtype="string")) == []
    unknown = tensorflow.Variable(tensorflow.zeros((2, 3)), shape=tensorflow.TensorShape(None))
    check({"x": unknown, "y": variable}, {"x": TensorSpec("b, 7"), "y": TensorSpec("b, 3")})


@pytest.mark.parametrize(("shape", "size"), GOOD)
def test_a_right_array_needs_no_walk(
    framework: str, shape: str, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = SPECS[framework](shape, dtype="float32")
    call = CallChecker({"x": one, "y": {"z": one}}, {"out": TensorSpec(shape)})
    value = zeros(framework, *size)
    data = {"x": value, "y": {"z": value}}
    call.output({"out": value}, call.input(data))  # some classes are known from the first value on

    def walk(*arguments: object, **options: object) -> None:
        raise AssertionError("the compiled check did not accept")

    monkeypatch.setattr("rlmodule_specs.explain.Explanation.visit", walk)
    call.output({"out": value}, call.input(data))
