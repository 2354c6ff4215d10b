"""The grammar of one tensor's spec: what is read, what is refused with advice, how it prints."""

import pickle
import re
from copy import deepcopy
from typing import Any

import pytest

from rlmodule_specs import JaxTensorSpec, NumpyTensorSpec, TensorSpec, TfTensorSpec, TorchTensorSpec


@pytest.mark.parametrize(
    ("written", "axes"),
    [
        ("b, h", ("b", "h")),
        ("b,h", ("b", "h")),
        ("  b ,   h ", ("b", "h")),
        ("b, 3", ("b", 3)),
        ("", ()),
        ("   ", ()),
        ("..., h", ("...", "h")),
        ("b, ...", ("b", "...")),
        ("b, ..., h", ("b", "...", "h")),
        ("b, _", ("b", "_")),
        ("_, _", ("_", "_")),
        ("n, n", ("n", "n")),
        ("007", (7,)),
        ("größe", ("größe",)),
    ],
)
def test_commas_separate_and_spaces_never_matter(written: str, axes: tuple[str | int, ...]) -> None:
    assert TensorSpec(written).axes == axes


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("b h", "shape 'b h': axes are separated by one comma, write 'b, h'"),
        ("b,,h", "shape 'b,,h': axes are separated by one comma, write 'b, h'"),
        ("b,", "shape 'b,': axes are separated by one comma, write 'b'"),
        (",b", "shape ',b': axes are separated by one comma, write 'b'"),
        ("b, -1", "shape 'b, -1': a size is at least 1, write '_' instead of '-1' for any size"),
        ("b, 0", "shape 'b, 0': a size is at least 1, write '_' for any size"),
        ("b, 1.5", "shape 'b, 1.5': '1.5' is no axis, write a name (b), a size (3), '_' or '...'"),
        ("b, 4x", "shape 'b, 4x': '4x' is no axis, write a name (b), a size (3), '_' or '...'"),
        ("*b", "shape '*b': '*b' is no axis, write a name (b), a size (3), '_' or '...'"),
        ("b, None", "shape 'b, None': 'None' cannot be a name, write '_' for any size"),
        (
            "..., b, ...",
            "shape '..., b, ...' has more than one '...': keep one, write '_' for one axis",
        ),
        ("[b, h]", "shape '[b, h]': '[b' is no axis, write a name (b), a size (3), '_' or '...'"),
    ],
)
def test_a_shape_that_is_none_is_refused_with_what_to_write(written: str, message: str) -> None:
    with pytest.raises(ValueError, match="shape") as refused:
        TensorSpec(written)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32, 4), "a shape is written as a string: write '32, 4' instead of (32, 4)"),
        ([7], "a shape is written as a string: write '7' instead of [7]"),
        (None, "a shape is written as a string: write 'b, h' instead of None"),
    ],
)
def test_a_shape_that_is_no_string_is_refused(shape: object, message: str) -> None:
    with pytest.raises(ValueError, match="string") as refused:
        TensorSpec(shape)  # type: ignore[arg-type]  # the mistake that is tested
    assert str(refused.value) == message


WHOLE = "the size of 'h' must be an integer of at least 1, got "
ANY = ": leave 'h' without a size to accept any"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"h": 0}, f"{WHOLE}0{ANY}"),
        ({"h": -1}, f"{WHOLE}-1{ANY}"),
        ({"h": 1.5}, f"{WHOLE}1.5{ANY}"),
        ({"h": "10"}, f"{WHOLE}'10'{ANY}"),
        ({"h": None}, f"{WHOLE}None{ANY}"),
        ({"h": True}, f"{WHOLE}True: write h=1 if that is meant"),
        ({"hidden": 4}, "a size is given for 'hidden', a name not in shape 'b, h': known are 'b', 'h'"),
        ({"hh": 4}, "a size is given for 'hh', a name not in shape 'b, h': did you mean 'h'?"),
        ({"_": 4}, "shape 'b, h': '_' takes no size, write the size or a name in its place"),
    ],
)
def test_a_size_that_cannot_be_is_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="size") as refused:
        TensorSpec("b, h", **sizes)
    assert str(refused.value) == message


def test_a_name_may_be_called_as_any_argument_of_ours() -> None:
    assert TensorSpec("self, b", self=3).sizes == {"self": 3}


class Ten:
    def __index__(self) -> int:
        return 10


def test_a_size_is_anything_that_counts_as_an_integer() -> None:
    assert TensorSpec("b, h", h=Ten()) == TensorSpec("b, h", h=10)
    assert TensorSpec("b, h", h=1).sizes == {"h": 1}


@pytest.mark.parametrize(
    ("framework", "message"),
    [
        ("pytorch", "unknown framework 'pytorch': write 'torch'"),
        ("tensorflow", "unknown framework 'tensorflow': write 'tf'"),
        ("tf2", "unknown framework 'tf2': write 'tf'"),
        ("np", "unknown framework 'np': write 'numpy'"),
        ("jnp", "unknown framework 'jnp': write 'jax'"),
        ("torhc", "unknown framework 'torhc': did you mean 'torch'?"),
        ("x", "unknown framework 'x': known are 'torch', 'tf', 'numpy', 'jax'"),
        (3, "unknown framework 3: known are 'torch', 'tf', 'numpy', 'jax'"),
    ],
)
def test_an_unknown_framework_is_refused(framework: str, message: str) -> None:
    with pytest.raises(ValueError, match="framework") as refused:
        TensorSpec("b", framework=framework)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("flaot32", "unknown dtype 'flaot32': did you mean 'float32'?"),
        ("torch.float32", "unknown dtype 'torch.float32': did you mean 'float32'?"),
        ("float", "dtype 'float' is not the same in every framework: write 'float32' or 'float64'"),
        (int, "dtype 'int' is not the same in every framework: write 'int32' or 'int64'"),
        (complex, "dtype 'complex' is not the same in every framework: write 'complex64' or 'complex128'"),
        ("double", "dtype 'double' is not the same in every framework: write 'float64'"),
        (float, "dtype 'float' is not the same in every framework: write 'float32' or 'float64'"),
        ("half", "dtype 'half' is not the same in every framework: write 'float16'"),
        ("long", "dtype 'long' is not the same in every framework: write 'int64'"),
        (7, "dtype must be a name such as 'float32' or a framework's dtype, got 7"),
        (list, "dtype must be a name such as 'float32' or a framework's dtype, got <class 'list'>"),
    ],
)
def test_an_unknown_dtype_is_refused(dtype: object, message: str) -> None:
    with pytest.raises(ValueError, match="dtype") as refused:
        TensorSpec("b", dtype=dtype)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "bfloat16", "complex64", "datetime64[ns]", "str12", "string"]
)
def test_a_dtype_is_kept_under_its_canonical_name(dtype: str) -> None:
    assert TensorSpec("b", dtype=dtype).dtype == dtype
    assert TensorSpec("b", dtype=bool).dtype == "bool"


EXAMPLES = [
    TensorSpec(""),
    TensorSpec("b, h", h=10),
    TensorSpec("..., h", h=10, dtype="float32", framework="tf"),
    TensorSpec("b").within(-1.5, 1),
    TensorSpec("b").within(high=3),
    TensorSpec("b", dtype="int64").one_of(5),
    TorchTensorSpec("b, 3", dtype="float32"),
    TfTensorSpec("b"),
    NumpyTensorSpec("b, _"),
    JaxTensorSpec("n, n", n=2),
]


@pytest.mark.parametrize("spec", EXAMPLES, ids=repr)
def test_a_spec_prints_as_it_is_written(spec: TensorSpec) -> None:
    assert repr(eval(repr(spec))) == repr(spec)
    assert eval(repr(spec)) == spec


@pytest.mark.parametrize("spec", EXAMPLES, ids=repr)
def test_a_spec_survives_pickling_and_copying(spec: TensorSpec) -> None:
    for copy in (pickle.loads(pickle.dumps(spec)), deepcopy(spec)):
        assert copy == spec
        assert hash(copy) == hash(spec)
        assert repr(copy) == repr(spec)


def test_the_words_of_a_spec() -> None:
    assert repr(TensorSpec(" b,h ", h=10)) == "TensorSpec('b, h', h=10)"
    assert repr(TorchTensorSpec("b")) == "TorchTensorSpec('b')"
    assert repr(TensorSpec("b", framework="jax")) == "TensorSpec('b', framework='jax')"
    assert TensorSpec("b, ..., 3, _").shape == "b, ..., 3, _"
    assert TensorSpec("b, ..., 3, _, b, a").names == ("b", "a")


def test_specs_are_equal_when_they_ask_for_the_same() -> None:
    assert TensorSpec("b,h", h=10) == TensorSpec(" b , h ", h=10)
    assert TorchTensorSpec("b") == TensorSpec("b", framework="torch")
    assert hash(TorchTensorSpec("b")) == hash(TensorSpec("b", framework="torch"))
    different = [
        TensorSpec("b, h", h=10),
        TensorSpec("b, 10"),
        TensorSpec("b, h"),
        TensorSpec("b, h", h=9),
        TensorSpec("b, h", dtype="int8"),
        TensorSpec("b, h", framework="tf"),
        TensorSpec("b, h").within(0),
        TensorSpec("b, h").within(None, 0),
        TensorSpec("b, h").one_of(2),
    ]
    assert len(set(different)) == len(different)
    assert all(a != b for a in different for b in different if a is not b)
    assert TensorSpec("b") != "b"


def test_a_spec_is_immutable() -> None:
    spec = TensorSpec("b, h", h=10)
    with pytest.raises(
        AttributeError, match=r"^TensorSpec is immutable: make a new one instead of setting 'dtype'$"
    ):
        spec.dtype = "int8"
    with pytest.raises(AttributeError, match=r"^TensorSpec is immutable: 'dtype' cannot be deleted$"):
        del spec.dtype
    with pytest.raises(TypeError, match="mappingproxy"):
        spec.sizes["h"] = 3  # type: ignore[index]  # the mistake that is tested
    assert spec == TensorSpec("b, h", h=10)
    assert spec.within(0, 1) is not spec
    assert spec.low is None


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (None, None, "within() needs a low or a high limit"),
        (2, 1, "within(2, 1): the low limit is above the high one"),
        (float("nan"), 1, "a limit is an int or a float, got nan"),
        (0, "1", "a limit is an int or a float, got '1'"),
    ],
)
def test_limits_that_cannot_be_are_refused(low: float, high: float, message: str) -> None:
    with pytest.raises(ValueError, match="limit") as refused:
        TensorSpec("b").within(low, high)
    assert str(refused.value) == message


def test_a_count_of_classes_is_a_size() -> None:
    with pytest.raises(ValueError, match="must be an integer of at least 1, got 0"):
        TensorSpec("b").one_of(0)
    assert TensorSpec("b").one_of(1).classes == 1
    assert TensorSpec("b").within(1, 1).low == 1


DTYPES = re.findall(
    r"\S+",
    """bool bfloat16 float16 float32 float64 float128 int8 int16 int32 int64 int1 int2 int3 int4 int5 int6
    int7 uint8 uint16 uint32 uint64 uint1 uint2 uint3 uint4 uint5 uint6 uint7 complex32 complex64 complex128
    complex256 float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2
    float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn float4_e2m1fn_x2 qint8 qint16 qint32 quint8 quint16
    object string str bytes datetime64 datetime64[ns] timedelta64 timedelta64[s] str12 bytes3 void8
    StringDType StringDType()""",
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_a_framework_is_known_by_its_name(dtype: str) -> None:
    assert TensorSpec("b", dtype=dtype).dtype == dtype
    for wrong in (f"x{dtype}", f"{dtype}x", ""):
        if not wrong.startswith("StringDType"):
            with pytest.raises(ValueError, match=r"^unknown dtype"):
                TensorSpec("b", dtype=wrong)


class EqualityRaises:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]  # goes with it


def test_whatever_is_no_dtype_is_a_value_error() -> None:
    numpy = pytest.importorskip("numpy")
    others: list[object] = [EqualityRaises(), [], numpy.zeros(2), numpy.ndarray, numpy.float32(1)]
    for wrong in others:
        with pytest.raises(ValueError, match=r"^dtype must be a name such as 'float32'"):
            TensorSpec("b", dtype=wrong)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"^dtype must be"):
        TensorSpec("b", dtype=torch.zeros(2))
