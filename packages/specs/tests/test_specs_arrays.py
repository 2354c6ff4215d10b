"""Arrays out of specs and specs out of arrays: fill, sample, infer, hypothesis, pytest."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from rlmodule_specs import (
    Checker,
    NumpyTensorSpec,
    SpecDict,
    SpecType,
    TensorSpec,
    check,
    fill,
    infer,
    sample,
)
from rlmodule_specs.testing import draws

np: Any = pytest.importorskip("numpy")


MODULES = {"numpy": "numpy", "torch": "torch", "tf": "tensorflow", "jax": "jax"}


@pytest.fixture(params=list(MODULES))
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if not find_spec(MODULES[name]):
        pytest.skip(f"{name} IS NOT INSTALLED: nothing about its values was tested")
    return name


def listed(value: Any) -> Any:
    return np.asarray(value).tolist()


# --- fill and sample


def test_fill_makes_tensors_of_one_value(framework: str) -> None:
    spec: SpecType = {
        "x": TensorSpec("b, h, 2, _", h=3, framework=framework, dtype="float32"),
        "n": TensorSpec("..., b", framework=framework, dtype="int32"),
        "d": TensorSpec("", framework=framework, dtype="bool"),
    }
    made: Any = fill(spec, 1, b=2)
    Checker(spec, exact=True).check(made)
    assert np.asarray(made["x"]).shape == (2, 3, 2, 1)
    assert listed(made["n"]) == [1, 1]
    assert listed(made["d"]) is True
    small: Any = fill(spec)
    assert np.asarray(small["n"]).shape == (1,)
    assert listed(small["n"]) == [0]
    empty: Any = fill(spec, b=0)
    assert np.asarray(empty["x"]).shape == (0, 3, 2, 1)


def test_bfloat16_is_made_where_a_framework_has_it(framework: str) -> None:
    if framework == "numpy":
        pytest.skip("NumPy has no bfloat16")
    spec = TensorSpec("b", dtype="bfloat16", framework=framework)
    for made in (spec.fill(1, b=2), spec.sample(b=2)):
        check(made, spec)


SAMPLED: list[TensorSpec] = [
    TensorSpec("b, h, 2", h=3),
    TensorSpec("b, ..., _"),
    TensorSpec("n, n", dtype="float16"),
    TensorSpec("b, 50", dtype="float32").within(2, 2.5),
    TensorSpec("b, 50").within(low=7),
    TensorSpec("b, 50").within(high=-7),
    TensorSpec("b, 50").within(-0.1, 0.1),
    TensorSpec("b, 50", dtype="uint8"),
    TensorSpec("b, 50", dtype="int8").within(-3, -2.5),
    TensorSpec("b, 50", dtype="int8").within(high=-100),
    TensorSpec("b, 50", dtype="int32").one_of(3),
    TensorSpec("b, 50", dtype="bool"),
    TensorSpec("b", dtype="complex64"),
]


@pytest.mark.parametrize("spec", SAMPLED, ids=repr)
def test_a_sample_satisfies_its_spec(framework: str, spec: TensorSpec) -> None:
    spec = spec._with(framework=framework)
    values = spec.dtype != "complex64"  # complex numbers have no order
    for seed in range(5):
        Checker(spec, values=values).check(spec.sample(seed))
    assert np.shape(spec.sample(0, **{name: 2 for name in spec.names if name not in spec.sizes}))[0] == 2


def test_one_seed_is_one_sample_in_every_framework(framework: str) -> None:
    spec: SpecType = {"x": TensorSpec("b, ..., h"), "y": TensorSpec("b", dtype="int32").one_of(7)}
    framed: SpecType = {
        "x": TensorSpec("b, ..., h", framework=framework),
        "y": TensorSpec("b", dtype="int32", framework=framework).one_of(7),
    }
    for seed in (0, 1, 2):
        one, other = sample(spec, seed), sample(framed, seed)
        assert isinstance(one, dict)
        assert isinstance(other, dict)
        assert {key: listed(value) for key, value in one.items()} == {k: listed(v) for k, v in other.items()}
    texts = {str(sample(spec, seed)) for seed in range(10)}
    assert len(texts) == 10


def test_a_sample_varies_and_covers_its_limits() -> None:
    numbers = {
        value
        for seed in range(5)
        for value in listed(TensorSpec("100", dtype="int64").one_of(3).sample(seed))
    }
    assert numbers == {0, 1, 2}
    assert set(listed(TensorSpec("100", dtype="int64").sample())) == set(range(10))
    small = set(listed(TensorSpec("100", dtype="int8").within(high=-120).sample()))
    assert small == set(range(-128, -119))
    assert set(listed(TensorSpec("100", dtype="bool").sample())) == {False, True}
    reals = listed(TensorSpec("100").sample())
    assert -1 <= min(reals) < -0.5
    assert 0.5 < max(reals) <= 1
    assert np.isfinite(TensorSpec("100", dtype="complex64").sample()).all()
    ranks = {np.ndim(TensorSpec("...").sample(seed)) for seed in range(20)}
    assert ranks == {0, 1, 2}
    sizes = {size for seed in range(20) for size in np.shape(TensorSpec("b, _").sample(seed))}
    assert sizes == {1, 2, 3}


def test_without_a_framework_and_dtype_arrays_are_numpy_float32() -> None:
    assert listed(TensorSpec("b").fill()) == [0]
    assert listed(TensorSpec("b").sample()) == listed(TensorSpec("b").sample(0))
    for made in (TensorSpec("b").fill(), TensorSpec("b").sample()):
        check(made, NumpyTensorSpec("b", dtype="float32"))


def test_a_dtype_that_a_framework_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^numpy has no dtype 'float4_e2m1fn_x2'$"):
        NumpyTensorSpec("b", dtype="float4_e2m1fn_x2").fill()


def test_a_framework_that_is_missing_is_an_import_error() -> None:
    if find_spec("jax"):
        pytest.skip("JAX IS INSTALLED: its absence was not tested")
    with pytest.raises(ImportError, match="jax") as refused:
        TensorSpec("b", framework="jax").fill()
    told = "making a tensor of TensorSpec('b', framework='jax') needs jax.numpy, which is not installed"
    assert str(refused.value) == told


# --- inference


def test_the_spec_of_arrays_names_the_leading_axes(framework: str) -> None:
    made: Any = fill(
        {"x": TensorSpec("2, 3, 4", framework=framework), "s": TensorSpec("", framework=framework)}
    )
    named = infer({**made, "list": [made["x"], made["x"]]})
    x = TensorSpec("b, 3, 4", dtype="float32", framework=framework)
    s = TensorSpec("", dtype="float32", framework=framework)
    assert named == SpecDict({"x": x, "s": s, "list": {0: x, 1: x}})
    assert infer(made["x"], leading=("b", "t")) == x.with_axes(("b", "t", 4))
    assert infer(made["x"], leading=()) == x.with_axes((2, 3, 4))
    assert infer(made["x"], leading=("a", "b", "c", "d")) == x.with_axes(("a", "b", "c"))
    check(made, infer(made), exact=True)


def test_an_empty_axis_is_inferred_as_any() -> None:
    assert infer(np.zeros((2, 0)), leading=()) == NumpyTensorSpec("2, _", dtype="float64")


# --- pytest and hypothesis


@draws("batch", {"x": TensorSpec("b, 3")}, count=3, seed=7, b=2)
def test_draws_gives_a_test_its_values(batch: Any) -> None:
    check(batch, {"x": NumpyTensorSpec("2, 3")})


def test_draws_is_a_mark_with_the_seeds_as_ids() -> None:
    mark = draws("batch", TensorSpec("b"), count=2, seed=4).mark
    assert mark.name == "parametrize"
    assert mark.kwargs == {"ids": ["seed4", "seed5"]}
    assert [listed(value) for value in mark.args[1]] == [
        listed(TensorSpec("b").sample(seed)) for seed in (4, 5)
    ]


def test_draws_gives_five_values_from_seed_0_on() -> None:
    mark = draws("batch", TensorSpec("b")).mark
    assert mark.kwargs == {"ids": ["seed0", "seed1", "seed2", "seed3", "seed4"]}
    assert listed(mark.args[1][0]) == listed(TensorSpec("b").sample(0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_hypothesis_draws_finite_numbers_that_the_dtype_holds(dtype: str) -> None:
    hypothesis: Any = pytest.importorskip("hypothesis")
    strategies: Any = import_module("rlmodule_specs.strategies")
    seen: list[Any] = []

    def note(value: object) -> None:
        seen.append(value)

    quick = hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
    quick(hypothesis.given(strategies.from_spec(TensorSpec("b", dtype=dtype)))(note))()

    assert all(value.dtype == dtype and value.size <= 4 for value in seen)
    numbers = np.concatenate(seen)
    assert np.isfinite(numbers).all()
    assert (np.abs(numbers) > 1).any()
    assert numbers.imag.any() == (dtype == "complex64")


HYPOTHESIS: list[SpecType] = [
    {"x": TensorSpec("b, h, 2", h=3), "y": {"z": TensorSpec("b, ...", dtype="int8")}, "k": int, "any": None},
    TensorSpec("n, n, _", dtype="float16"),
    TensorSpec("b, 9, 9, 9", dtype="uint8").one_of(3),
    TensorSpec("b, 5").within(-0.1, 0.1),
    TensorSpec("b, 5", dtype="float16").within(low=3),
    TensorSpec("b, 5").within(high=-1e9),
    TensorSpec("b, 5", dtype="bool"),
    (TensorSpec("b"),) and {0: TensorSpec("b", dtype="float64"), 1: TensorSpec("b, b")},
]


@pytest.mark.parametrize("spec", HYPOTHESIS, ids=repr)
def test_hypothesis_draws_data_that_satisfies_the_spec(spec: SpecType) -> None:
    hypothesis: Any = pytest.importorskip("hypothesis")
    strategies: Any = import_module("rlmodule_specs.strategies")
    checker = Checker(spec, exact=True, values=True)

    def satisfies(data: object) -> None:
        checker.check(data)

    quick = hypothesis.settings(max_examples=30, deadline=None, database=None)
    quick(hypothesis.given(strategies.from_spec(spec))(satisfies))()


def test_hypothesis_takes_sizes_draws_others_and_shrinks() -> None:
    hypothesis: Any = pytest.importorskip("hypothesis")
    strategies: Any = import_module("rlmodule_specs.strategies")
    quick = hypothesis.settings(max_examples=200, deadline=None, derandomize=True, database=None)

    def smallest(spec: SpecType, wanted: Callable[[Any], bool], **sizes: int) -> Any:
        return hypothesis.find(strategies.from_spec(spec, **sizes), wanted, settings=quick)

    assert smallest(TensorSpec("b, h"), lambda x: x.shape[0] > 1, h=2).tolist() == [[0, 0], [0, 0]]
    assert smallest(TensorSpec("..."), lambda x: x.ndim == 2 and x.size > 3).ndim == 2
    assert smallest(TensorSpec("b, _"), lambda x: x.shape == (0, 0)).shape == (0, 0)
    assert smallest(TensorSpec("b, _"), lambda x: x.shape == (4, 4)).shape == (4, 4)
    assert smallest(TensorSpec("1").within(high=5), lambda x: x[0] < 0)[0] < 0
    assert smallest(TensorSpec("1").within(low=-5), lambda x: x[0] > 9)[0] > 9
    with pytest.raises(ValueError, match="a size is given for 'c'"):
        strategies.from_spec(TensorSpec("b"), c=1)


def test_every_number_that_numpy_and_torch_have_is_a_known_dtype() -> None:
    for name in ("bool", "int8", "int64", "uint16", "float16", "float64", "complex64", "complex128"):
        assert NumpyTensorSpec("b", dtype=np.dtype(name)) == NumpyTensorSpec("b", dtype=name)
    torch: Any = pytest.importorskip("torch")
    for dtype in {value for value in vars(torch).values() if isinstance(value, torch.dtype)}:
        name = str(dtype).removeprefix("torch.")
        if not name.startswith(("bits", "quint4", "quint2")):
            assert TensorSpec("b", dtype=name) == TensorSpec("b", dtype=dtype)
