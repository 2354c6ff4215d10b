"""The numbers behind `fill` and `sample`: what a dtype can hold, what is drawn, and that it never changes."""

from random import Random
from typing import Any

import pytest

from rlmodule_specs import SpecType, TensorSpec, sample
from rlmodule_specs.arrays import bounds, draw, kind

KINDS = {
    **dict.fromkeys(["bool"], bool),
    **dict.fromkeys(["int8", "int64", "uint8", "uint16", "int4"], int),
    **dict.fromkeys(["float16", "float64", "bfloat16", "float8_e5m2"], float),
    **dict.fromkeys(["complex64", "complex128"], complex),
}


@pytest.mark.parametrize("dtype", KINDS)
def test_values_have_the_type_of_their_dtype(dtype: str) -> None:
    assert kind(TensorSpec("b", dtype=dtype)) is KINDS[dtype]
    assert kind(TensorSpec("b")) is float
    drawn = [draw(TensorSpec("b", dtype=dtype), Random(seed)) for seed in range(50)]
    assert {type(value) for value in drawn} == {KINDS[dtype]}
    assert len(set(drawn)) > 1
    assert any(value.imag for value in drawn) == (KINDS[dtype] is complex)
    assert any(value.real for value in drawn)


@pytest.mark.parametrize("dtype", ["string", "datetime64[s]", "object", "qint8"])
def test_values_that_are_no_numbers_cannot_be_made(dtype: str) -> None:
    with pytest.raises(ValueError, match="made") as refused:
        TensorSpec("b", dtype=dtype).fill()
    assert str(refused.value) == f"values of dtype {dtype!r} cannot be made"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TensorSpec("b", dtype="int8"), (-128, 127)),
        (TensorSpec("b", dtype="uint8"), (0, 255)),
        (TensorSpec("b", dtype="int16"), (-32768, 32767)),
        (TensorSpec("b", dtype="uint32"), (0, 4294967295)),
        (TensorSpec("b", dtype="int64").one_of(5), (0, 4)),
        (TensorSpec("b", dtype="int32").within(0.5, 3.5), (1, 3)),
        (TensorSpec("b", dtype="int32").within(-3.5, -0.5), (-3, -1)),
        (TensorSpec("b", dtype="int32").within(-2, 2), (-2, 2)),
        (TensorSpec("b", dtype="int8").within(low=100), (100, 127)),
        (TensorSpec("b", dtype="uint8").within(-7, 9), (0, 9)),
        (TensorSpec("b", dtype="uint8").within(0, 0), (0, 0)),
    ],
    ids=repr,
)
def test_whole_numbers_keep_to_their_dtype_and_their_limits(
    spec: TensorSpec, expected: tuple[int, int]
) -> None:
    assert bounds(spec) == expected
    low, high = expected
    drawn = [draw(spec, Random(seed)) for seed in range(200)]
    assert all(isinstance(value, int) and low <= value <= high for value in drawn)
    if spec.limits is None:
        assert set(drawn) == set(range(10))
    elif high - low < 10:
        assert set(drawn) == set(range(low, high + 1))


@pytest.mark.parametrize("limits", [(300, 400), (0.2, 0.8)])
def test_limits_that_leave_no_whole_number_are_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="within") as refused:
        bounds(TensorSpec("b", dtype="int8").within(*limits))
    assert str(refused.value) == f"no int8 is within {limits}"


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (TensorSpec("b"), -1, 1),
        (TensorSpec("b").within(2, 2.5), 2, 2.5),
        (TensorSpec("b").within(low=7), 7, 8),
        (TensorSpec("b").within(high=-7), -8, -7),
        (TensorSpec("b").one_of(3), 0, 2),
    ],
    ids=repr,
)
def test_reals_fill_their_limits_or_one_unit(spec: TensorSpec, low: float, high: float) -> None:
    drawn: list[Any] = [draw(spec, Random(seed)) for seed in range(500)]
    slack = (high - low) / 50
    assert low <= min(drawn) < low + slack
    assert high - slack < max(drawn) <= high


def test_whole_numbers_are_drawn_from_all_that_is_allowed() -> None:
    drawn = {draw(TensorSpec("b", dtype="int8").within(high=-120), Random(seed)) for seed in range(200)}
    assert drawn == set(range(-128, -119))
    assert {draw(TensorSpec("b", dtype="int4"), Random(seed)) for seed in range(200)} == set(range(8))


def test_a_seed_gives_the_same_data_for_ever() -> None:
    pytest.importorskip("numpy")
    spec: SpecType = {
        "n": TensorSpec("b, _", dtype="int64"),
        "x": TensorSpec("..., h").within(0, 1),
        "f": TensorSpec("h", dtype="bool"),
    }
    assert str(sample(spec)) == str(sample(spec, 0)) != str(sample(spec, 1))
    made: Any = sample(spec, 6)
    assert made["n"].tolist() == [[4, 0], [0, 2], [9, 7]]
    assert made["x"].shape == (2, 2, 1)
    assert made["x"].ravel().tolist() == pytest.approx([0.770, 0.273, 0.802, 0.730], abs=1e-3)
    assert made["f"].tolist() == [True]
    made = sample(spec, 3)
    assert made["x"][0].tolist() == pytest.approx([0.581, 0.606, 0.909], abs=1e-3)
    assert made["f"].tolist() == [True, False, True]
    drawn: Any = TensorSpec("2", dtype="complex64").sample()
    assert drawn.real.tolist() == pytest.approx([0.942, -0.680], abs=1e-3)
    assert drawn.imag.tolist() == pytest.approx([-1.397, 0.371], abs=1e-3)
