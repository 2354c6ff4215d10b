"""Data whose own code raises, lies or never ends: the answer is a SpecError, never another exception."""

import sys
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, NoReturn

import pytest

from rlmodule_specs import Checker, Problem, SpecError, SpecType, TensorSpec, check


class Boom:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"no {name}")

    def __eq__(self, other: object) -> NoReturn:
        raise RuntimeError("no equality")

    def __hash__(self) -> NoReturn:
        raise RuntimeError("no hash")

    def __repr__(self) -> NoReturn:
        raise RuntimeError("no repr")

    def __len__(self) -> NoReturn:
        raise RuntimeError("no length")


class EqualityRaises:
    def __eq__(self, other: object) -> NoReturn:
        raise RuntimeError("no equality")

    def __hash__(self) -> int:
        return hash("obs")


class BadMapping(Mapping[str, object]):
    """A mapping of which one method raises."""

    def __init__(self, broken: str) -> None:
        self.broken = broken

    def __contains__(self, key: object) -> bool:
        self.maybe("contains")
        return key == "obs"

    def __getitem__(self, key: str) -> object:
        self.maybe("getitem")
        return 1

    def __iter__(self) -> Iterator[str]:
        self.maybe("iter")
        return iter(["obs", "more"])

    def __len__(self) -> int:
        self.maybe("len")
        return 2

    def maybe(self, method: str) -> None:
        if method == self.broken:
            raise LookupError(f"{method} is broken\nand more")


def refused(data: object, spec: SpecType, **options: bool) -> list[tuple[str, str, str]]:
    checker = Checker(spec, **options)
    with pytest.raises(SpecError) as error:
        checker.check(data)
    assert str(error.value)
    assert error.value.problems == checker.problems(data)
    return [(problem.path, problem.expected, problem.found) for problem in error.value.problems]


@pytest.mark.parametrize("spec", [int, TensorSpec("b"), {"obs": int}, {0: int}])
@pytest.mark.parametrize("exact", [False, True])
def test_an_object_that_raises_at_every_touch(spec: SpecType, exact: bool) -> None:
    ((path, _, found),) = refused({"x": Boom()}, {"x": spec}, exact=exact)
    assert path == "x"
    assert found.startswith(f"{__name__}.Boom, which raises RuntimeError: no __class__")


def test_an_object_that_raises_is_fine_where_nothing_is_asked_of_it() -> None:
    check({"x": Boom()}, ["x"])
    check({"x": 1, "y": Boom()}, {"x": int})


def test_an_unexpected_object_that_raises_is_refused() -> None:
    ((path, expected, _),) = refused({"x": Boom()}, {}, exact=True)
    assert (path, expected) == ("x", "no such key")


def test_keys_whose_equality_raises() -> None:
    ((path, _, found),) = refused({EqualityRaises(): 1}, ["obs"])
    assert path == ""
    assert found == "dict, which raises RuntimeError: no equality"
    check({EqualityRaises(): 1, "mask": 1}, ["mask"])


KEY_OBS = "a mapping with key 'obs'"


@pytest.mark.parametrize("broken", ["contains", "getitem"])
def test_a_mapping_that_raises_is_refused_with_what_it_said(broken: str) -> None:
    assert refused(BadMapping(broken), ["obs"]) == [
        (
            "",
            "a mapping with key 'obs'",
            f"{__name__}.BadMapping, which raises LookupError: {broken} is broken",
        )
    ]


def test_what_is_not_needed_is_not_called() -> None:
    check(BadMapping("iter"), ["obs"])
    check(BadMapping("len"), ["obs"])


@pytest.mark.parametrize("broken", ["iter", "len"])
def test_a_mapping_that_cannot_be_counted_is_refused_when_exact(broken: str) -> None:
    ((path, _, found),) = refused(BadMapping(broken), ["obs"], exact=True)
    assert path == ""
    assert found.endswith(f"{broken} is broken")


class Endless(Mapping[str, object]):
    def __getitem__(self, key: str) -> NoReturn:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (f"k{number}" for number in count())

    def __len__(self) -> int:
        return sys.maxsize


def test_a_mapping_without_end_is_refused_in_no_time() -> None:
    assert refused(Endless(), ["obs"]) == [
        ("obs", "anything", "no such key, there are 'k0', 'k1', 'k2', 'k3', 'k4', ...")
    ]
    problems = refused({"x": Endless()}, {"x": int})
    assert problems == [("x", "int", "a mapping with keys 'k0', 'k1', 'k2', 'k3', 'k4', ...")]


def test_data_that_contains_itself() -> None:
    data: dict[str, object] = {}
    data["again"] = data
    check(data, [("again",) * 100])
    assert refused(data, {("again",) * 3: int}) == [
        ("again.again.again", "int", "a mapping with key 'again'")
    ]
    loop: list[object] = []
    loop.append(loop)
    assert refused(loop, {0: {0: int}}) == [("[0][0]", "int", "a list of 1 element")]


def test_data_100_levels_deep() -> None:
    data: Any = 1
    for _ in range(100):
        data = {"x": data}
    check(data, {("x",) * 100: int}, exact=True)
    ((path, expected, found),) = refused(data, {("x",) * 100: str})
    assert path == ".".join("x" * 100)
    assert (expected, found) == ("str", "int")


class LyingClass:
    @property  # type: ignore[misc]  # raises on purpose
    def __class__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no class")


class Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("no instances")


class Unaskable(metaclass=Meta):
    pass


def test_classes_that_raise_when_asked() -> None:
    assert "RuntimeError" in refused({"x": LyingClass()}, {"x": int})[0][2]
    with pytest.raises(ValueError, match="Unaskable'> is no class"):  # at once
        Checker({"x": Unaskable})


class WithoutName(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


class SilentMapping(BadMapping):
    def maybe(self, method: str) -> None:
        if method == self.broken:
            raise WithoutName


def test_an_exception_without_text_is_told_by_its_class() -> None:
    assert refused(SilentMapping("contains"), ["obs"])[0][2].endswith("which raises WithoutName")


def test_interrupts_pass_through() -> None:
    class Interrupted(BadMapping):
        def maybe(self, method: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(Interrupted(""), ["obs"])


def raising_shape(base: type) -> type:
    def shape(self: object) -> NoReturn:
        raise RuntimeError("no shape")

    return type("Broken", (base,), {"shape": property(shape)})


def test_an_array_whose_shape_raises() -> None:
    numpy = pytest.importorskip("numpy")
    broken = numpy.zeros(3).view(raising_shape(numpy.ndarray))
    ((path, expected, found),) = refused({"x": broken}, {"x": TensorSpec("b")})
    assert (path, expected) == ("x", "[b]")
    assert found == f"{__name__}.Broken, which raises RuntimeError: no shape"
    assert refused({"x": broken}, {"x": int})[0][2] == found


def test_a_tensor_whose_shape_raises() -> None:
    torch = pytest.importorskip("torch")
    broken = torch.zeros(3).as_subclass(raising_shape(torch.Tensor))
    assert refused({"x": broken}, {"x": TensorSpec("b")})[0][2].endswith(
        "which raises RuntimeError: no shape"
    )


class Pretender:
    shape = (3, 4)
    dtype = "float32"
    ndim = 2


def test_an_object_with_a_shape_is_no_tensor() -> None:
    for spec in (TensorSpec("b, 4"), TensorSpec("b, 4", dtype="float32")):
        ((_, _, found),) = refused({"x": Pretender()}, {"x": spec})
        assert found == f"{__name__}.Pretender"


def test_the_switch_and_the_names_of_a_check_are_out_of_reach_of_the_data() -> None:
    for name in ("switch", "slow", "data", "sizes", "T1", "check"):
        check({name: 1}, {name: int})
        assert refused({name: 1}, {name: str}) == [(name, "str", "int")]


@pytest.mark.parametrize("name", ['"', "'", "\\", "\n", "{x}", "\0", "é", "", "%s", '"""'])
def test_any_string_is_a_key(name: str) -> None:
    check({name: {name: 1}}, {name: {name: int}})
    ((path, _, _),) = refused({name: 1}, {name: str})
    assert path == (name if name.isidentifier() else f"[{name!r}]")


def test_long_reprs_are_cut_in_a_message() -> None:
    key = "k" * 200 + " "
    assert len(refused({}, [key])[0][0]) == 62
    assert Checker(["a"]).problems({"b" * 500: 1})[0].found == f"no such key, there are '{'b' * 56}..."


def test_data_is_only_read() -> None:
    data = {"a": {"b": [1]}, "c": 2}
    copy = {"a": {"b": [1]}, "c": 2}
    check(data, {"a": {"b": list}}, exact=False)
    refused(data, {"a": {"x": list}, "c": str}, exact=True)
    assert data == copy


def test_a_problem_is_a_plain_tuple() -> None:
    assert Problem("a", "int", "str") == ("a", "int", "str")
