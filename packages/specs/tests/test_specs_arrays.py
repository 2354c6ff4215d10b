"""Arrays out of specs and specs out of arrays: fill, sample, infer, hypothesis, pytest, the command."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
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
    to_json,
)
from rlmodule_specs.cli import main
from rlmodule_specs.testing import draws

np: Any = pytest.importorskip("numpy")
Printed = pytest.CaptureFixture[str]
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
    for made in (TensorSpec("b").fill(), TensorSpec("b").sample()):
        check(made, NumpyTensorSpec("b", dtype="float32"))


def test_a_dtype_that_a_framework_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="numpy has no dtype 'float4_e2m1fn_x2'"):
        NumpyTensorSpec("b", dtype="float4_e2m1fn_x2").fill()


def test_a_framework_that_is_missing_is_an_import_error() -> None:
    if find_spec("jax"):
        pytest.skip("JAX IS INSTALLED: its absence was not tested")
    with pytest.raises(
        ImportError, match=r"of TensorSpec\('b', framework='jax'\) needs jax.numpy, which is not"
    ):
        TensorSpec("b", framework="jax").fill()


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
    with pytest.raises(ValueError, match="a size is given for 'c'"):
        strategies.from_spec(TensorSpec("b"), c=1)


# --- the command


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", **{"obs/arm": np.zeros((3, 4), "f4"), "mask": np.ones((3, 5), "i8")})
    np.save(tmp_path / "one.npy", np.zeros((3, 4)))
    spec: SpecType = {
        "obs": {"arm": TensorSpec("b, 4", dtype="float32")},
        "mask": TensorSpec("b, 5").one_of(2),
    }
    (tmp_path / "spec.json").write_text(to_json(spec))
    (tmp_path / "wrong.json").write_text(
        to_json({"obs": {"arm": TensorSpec("b, 5")}, "mask": TensorSpec("b").one_of(1)})
    )
    (tmp_path / "one.json").write_text(to_json(TensorSpec("b, 4")))
    return tmp_path


def test_the_command_says_whether_a_file_satisfies_a_spec(files: Path, capsys: Printed) -> None:
    data, spec = str(files / "data.npz"), str(files / "spec.json")
    assert main(["check", data, spec]) == 0
    assert capsys.readouterr().out == f"{data} satisfies {spec}\n"
    assert main(["check", data, spec, "--exact", "--values"]) == 0
    assert main(["check", str(files / "one.npy"), str(files / "one.json")]) == 0
    capsys.readouterr()
    wrong = str(files / "wrong.json")
    assert main(["check", data, wrong]) == 1
    assert capsys.readouterr().out == (
        f"{data} breaks {wrong} in 2 places\n"
        "  obs.arm:  expected [b, 5], got [3, 4]\n"
        "  mask:     expected [b], got [3, 5]\n"
    )


def test_the_options_of_the_command(files: Path, capsys: Printed) -> None:
    (files / "less.json").write_text(to_json({"mask": TensorSpec("b, 5").one_of(1)}))
    data, less = str(files / "data.npz"), str(files / "less.json")
    assert main(["check", data, less]) == 0
    assert main(["check", data, less, "--values"]) == 1
    assert "mask:  expected [b, 5] with values in [0, 0], got values from 1 to 1" in capsys.readouterr().out
    assert main(["check", data, less, "--exact"]) == 1
    assert "obs:  expected no such key, got a mapping with key 'arm'" in capsys.readouterr().out


def test_the_command_checks_also_while_checks_are_off(files: Path) -> None:
    code = "import sys; from rlmodule_specs.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "check", str(files / "data.npz"), str(files / "wrong.json")]
    assert (
        subprocess.run(command, env={"RLMODULE_CHECKS": "off"}, capture_output=True, check=False).returncode
        == 1
    )


def test_the_command_writes_and_compares_specs(files: Path, capsys: Printed) -> None:
    assert main(["infer", str(files / "data.npz")]) == 0
    written = capsys.readouterr().out
    (files / "new.json").write_text(written)
    assert main(["check", str(files / "data.npz"), str(files / "new.json"), "--exact"]) == 0
    capsys.readouterr()
    assert main(["infer", str(files / "data.npz"), "--leading"]) == 0
    (files / "literal.json").write_text(capsys.readouterr().out)
    assert main(["diff", str(files / "new.json"), str(files / "literal.json")]) == 1
    assert capsys.readouterr().out == (
        "obs.arm: numpy float32 [b, 4] -> numpy float32 [3, 4]\n"
        "mask: numpy int64 [b, 5] -> numpy int64 [3, 5]\n"
    )
    assert main(["diff", str(files / "new.json"), str(files / "new.json")]) == 0
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_read_is_exit_code_2(files: Path, capsys: Printed) -> None:
    (files / "broken.npz").write_bytes(b"PK")
    (files / "broken.json").write_text("{")
    np.savez(files / "clash.npz", **{"a": np.zeros(1), "a/b": np.zeros(1)})
    np.savez(files / "clash2.npz", **{"a/b": np.zeros(1), "a": np.zeros(1)})
    np.savez(files / "pickled.npz", a=np.array([{}], dtype=object))
    for data, spec, said in [
        ("none.npz", "spec.json", "No such file"),
        ("broken.npz", "spec.json", "broken.npz: "),
        ("data.npz", "none.json", "No such file"),
        ("data.npz", "broken.json", "broken.json: this is no JSON"),
        ("clash.npz", "spec.json", "clash.npz: 'a' is an array and also the front of 'a/b'"),
        ("clash2.npz", "spec.json", "clash2.npz: 'a' is an array and also the front of another name"),
        ("pickled.npz", "spec.json", "allow_pickle=False"),
    ]:
        assert main(["check", str(files / data), str(files / spec)]) == 2
        output = capsys.readouterr()
        assert said in output.err
        assert output.out == ""
    with pytest.raises(SystemExit) as usage:
        main([])
    assert usage.value.code == 2


def test_every_number_that_numpy_and_torch_have_is_a_known_dtype() -> None:
    for name in ("bool", "int8", "int64", "uint16", "float16", "float64", "complex64", "complex128"):
        assert NumpyTensorSpec("b", dtype=np.dtype(name)) == NumpyTensorSpec("b", dtype=name)
    torch: Any = pytest.importorskip("torch")
    for dtype in {value for value in vars(torch).values() if isinstance(value, torch.dtype)}:
        name = str(dtype).removeprefix("torch.")
        if not name.startswith(("bits", "quint4", "quint2")):
            assert TensorSpec("b", dtype=name) == TensorSpec("b", dtype=dtype)
