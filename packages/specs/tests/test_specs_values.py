"""Limits of values and class numbers, compared only on request, the same in every framework."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from rlmodule_specs import Checker, SpecError, TensorSpec

np: Any = pytest.importorskip("numpy")


MODULES = {"numpy": "numpy", "torch": "torch", "tf": "tensorflow", "jax": "jax"}


@pytest.fixture(params=list(MODULES))
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not find_spec(MODULES[name]):
        pytest.skip(f"{name} IS NOT INSTALLED: nothing about its values was tested")
    return name


def tensor(framework: str, numbers: object, dtype: str) -> Any:
    if framework == "tf":
        tensorflow = import_module("tensorflow")
        return tensorflow.constant(numbers, getattr(tensorflow, dtype))
    module: Any = import_module("jax.numpy" if framework == "jax" else framework)
    return module.asarray(numbers, dtype=getattr(module, dtype))


def told(value: object, spec: TensorSpec) -> list[str]:
    checker = Checker(spec, values=True)
    problems = checker.problems(value)
    if problems:
        with pytest.raises(SpecError) as refused:
            checker.check(value)
        assert refused.value.problems == problems
    else:
        checker.check(value)
    Checker(spec).check(value)  # nothing is wrong with its type
    return [f"{problem.expected} | {problem.found}" for problem in problems]


POSITIVE, NEGATIVE = TensorSpec("b").within(low=0), TensorSpec("b").within(high=0)
UNIT = TensorSpec("b").within(0, 1)
ACTION = TensorSpec("b").one_of(3)
LIMITS = [
    ("float32", UNIT, [0.0, 0.5, 1.0], None),
    ("float32", UNIT, [0.0, 1.5], "[b] with values in [0, 1] | values from 0.0 to 1.5"),
    ("float32", UNIT, [-0.5, 1.0], "[b] with values in [0, 1] | values from -0.5 to 1.0"),
    ("float32", UNIT, [0, float("nan")], "[b] with values in [0, 1] | values with NaN among them"),
    ("float32", UNIT, [], None),
    ("float32", POSITIVE, [1e30], None),
    ("float32", NEGATIVE, [-1e30], None),
    (
        "float32",
        POSITIVE,
        [-1],
        "[b] with values in [0, inf] | values from -1.0 to -1.0",
    ),
    ("float32", NEGATIVE, [2], "[b] with values in [-inf, 0] | values from 2.0 to 2.0"),
    ("float32", TensorSpec("b").within(-0.1, 0.1), [-0.1, 0.1], None),
    ("float32", TensorSpec("b"), [float("nan")], None),
    ("complex64", UNIT, [], None),
    ("uint8", TensorSpec("b").within(-1, 300), [0, 255], None),
    ("uint8", TensorSpec("b").within(-5, 9), [10], "[b] with values in [-5, 9] | values from 10 to 10"),
    ("int32", ACTION, [0, 2], None),
    ("int32", ACTION, [0, 3], "[b] with values in [0, 2] | values from 0 to 3"),
    ("int32", ACTION, [-1], "[b] with values in [0, 2] | values from -1 to -1"),
    ("int32", ACTION.within(1, 9), [0], "[b] with values in [1, 2] | values from 0 to 0"),
    ("bool", TensorSpec("b").within(1, 1), [True], None),
]


@pytest.mark.parametrize(("dtype", "spec", "numbers", "problem"), LIMITS)
def test_values_are_compared_when_asked_for(
    framework: str, dtype: str, spec: TensorSpec, numbers: list[float], problem: str | None
) -> None:
    assert told(tensor(framework, numbers, dtype), spec) == ([] if problem is None else [problem])


def test_values_of_a_scalar_are_compared(framework: str) -> None:
    spec = TensorSpec("").within(1, 2)
    assert told(tensor(framework, 0.0, "float32"), spec) == [
        "[] with values in [1, 2] | values from 0.0 to 0.0"
    ]


def test_complex_values_have_no_order() -> None:
    ((_, expected, found),) = Checker(TensorSpec("b").within(0, 1), values=True).problems(np.array([1j]))
    assert (expected, found) == ("[b] with values in [0, 1]", "complex values, which have no order")
