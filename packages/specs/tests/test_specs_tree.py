"""Every way to write a nested spec, and the one form that all become."""

import pickle
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import pytest

from rlmodule_specs import SpecDict, SpecType, TensorSpec, canonical
from rlmodule_specs.tree import Binding, fixed_sizes, leaves


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", ("a", "b")], [("a", "b"), "a"]),
        (["a", ("a", "b")], [("a", "b")]),
        ({"foo": ["bar"]}, [("foo", "bar")]),
        ({"foo": {"bar": None}}, {("foo", "bar"): None}),
        ({"a": None, ("a", "b"): int}, {"a": {"b": int}}),
        ({("a", "b"): int, "a": None}, {"a": {"b": int}}),
        ({"a": {"b": int}, ("a", "c"): str}, {"a": {"b": (int,), "c": str}}),
        ({"a": TensorSpec("b"), ("a",): TensorSpec("b")}, {"a": TensorSpec("b")}),
        ({"a": {}, ("a", "b"): None}, [("a", "b")]),
        ({"a": []}, {"a": {}}),
        ({"a": int | None}, {"a": (int, type(None))}),
        ({"a": (int, int)}, {"a": int}),
        ([0, (1, "x")], {0: None, 1: {"x": None}}),
        ([("a", "b"), ("a", "c")], {"a": ["b", "c"]}),
        (SpecDict(["a"]), ["a"]),
        ({"x": SpecDict(["a"])}, [("x", "a")]),
    ],
)
def test_two_ways_to_write_the_same(one: SpecType, other: SpecType) -> None:
    assert SpecDict(one) == SpecDict(other)
    assert hash(SpecDict(one)) == hash(SpecDict(other))
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a"], ["b"]),
        (["a"], [("a", "b")]),
        ({"a": int}, {"a": str}),
        ({"a": {}}, {"a": None}),
        ([0], ["0"]),
    ],
)
def test_different_specs_are_not_equal(one: SpecType, other: SpecType) -> None:
    assert SpecDict(one) != SpecDict(other)


def test_the_canonical_forms() -> None:
    spec = TensorSpec("b")
    assert canonical(None) is None
    assert canonical(int) == (int,)
    assert canonical((int, str)) == (int, str)
    assert canonical(spec) is spec
    assert canonical([]) == SpecDict() == SpecDict({})
    nested = SpecDict({"a": {"b": spec}})
    assert canonical(nested) is nested


def test_a_spec_dict_is_a_mapping_in_the_order_it_was_written() -> None:
    spec = SpecDict({"z": int, ("a", "y"): None, ("a", "x"): str})
    assert list(spec) == ["z", "a"]
    assert len(spec) == 2
    assert spec["z"] == (int,)
    assert isinstance(spec["a"], SpecDict)
    assert "q" not in spec
    assert [path for path, _ in leaves(spec)] == ["z", "a.y", "a.x"]
    assert repr(spec) == "SpecDict({'z': int, 'a': {'y': None, 'x': str}})"
    assert (
        repr(SpecDict({"a": (int, str), "b": TensorSpec("b")}))
        == "SpecDict({'a': (int, str), 'b': TensorSpec('b')})"
    )
    assert spec != {"z": int}


def test_a_spec_dict_is_immutable_and_survives_pickling() -> None:
    spec = SpecDict({"a": {"b": TensorSpec("b, 3")}, "c": int})
    with pytest.raises(
        AttributeError, match=r"^SpecDict is immutable: make a new one instead of setting 'x'$"
    ):
        spec.x = 1
    with pytest.raises(AttributeError, match=r"^SpecDict is immutable: '_children' cannot be deleted$"):
        del spec._children
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    assert list(copy) == ["a", "c"]


def test_what_is_written_is_never_changed() -> None:
    inner: dict[str, object] = {"b": int}
    written = {"a": inner, ("a", "c"): str}
    SpecDict(written)  # type: ignore[arg-type]  # typed loosely to compare it afterwards
    assert written == {"a": {"b": int}, ("a", "c"): str}
    assert inner == {"b": int}


class Color(StrEnum):
    RED = "red"


def test_a_key_of_a_string_enum_is_its_string() -> None:
    spec = SpecDict({Color.RED: int})
    assert [type(key) for key in spec] == [str]
    assert list(spec) == ["red"]


class Unchecked(Protocol):
    x: int


class Loop(dict[str, object]):
    def __init__(self) -> None:
        super().__init__()
        self["again"] = self


DEEP: SpecType = None
for _ in range(151):
    DEEP = {"x": DEEP}


ADVICE = "write None, a class, a tuple of classes, a TensorSpec, a list of keys or a mapping"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("obs", "'obs' is no spec: write ['obs'] to require that key"),
        (b"obs", f"b'obs' is no spec: {ADVICE}"),
        (3, f"3 is no spec: {ADVICE}"),
        ({"a": {"b": "c"}}, "a.b: 'c' is no spec: write ['c'] to require that key"),
        (("a", "b"), "'a' is no class: for keys write ['a', 'b']"),
        ((int, 3), "3 is no class: a tuple is for classes that isinstance() accepts"),
        ((), "() is no spec: write a tuple of classes, or None for anything"),
        (list[int], f"list[int] is no spec: {ADVICE}"),
        ({"a": ()}, "a: () is no spec: write a tuple of classes, or None for anything"),
        ([()], "() is no path: write at least one key"),
        ([1.5], "1.5 is no key: a key is a str, a whole number from 0 or a tuple of them"),
        ([-1], "-1 is no key: a key is a str, a whole number from 0 or a tuple of them"),
        ([True], "True is no key: a key is a str, a whole number from 0 or a tuple of them"),
        ({"a": [("b", None)]}, "a: None is no key: a key is a str, a whole number from 0 or a tuple of them"),
        ({"a": int, ("a", "b"): str}, "a: given twice, as (<class 'int'>,) and as {'b': (<class 'str'>,)}"),
        (
            {"a": {"b": TensorSpec("b")}, ("a", "b"): TensorSpec("c")},
            "a.b: given twice, as TensorSpec('b') and as TensorSpec('c')",
        ),
        (
            {"x": TensorSpec("b, h", h=10), "y": TensorSpec("h", h=9)},
            "'h' is given as 10 by x and as 9 by y: a name has one size in the whole check, use two names",
        ),
        ({"a": Loop()}, "a.again: the spec contains itself"),
    ],
)
def test_what_is_no_spec_is_refused_with_its_place_and_what_to_write(spec: SpecType, message: str) -> None:
    for build in (canonical, SpecDict) if isinstance(spec, Mapping) else (canonical,):
        with pytest.raises(ValueError, match=re.escape(message)) as refused:
            build(spec)
        assert str(refused.value) == message


def test_a_protocol_that_cannot_be_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="Unchecked'> is no class: a tuple is for classes that isinstance"):
        canonical(Unchecked)


@pytest.mark.parametrize("spec", [None, int, TensorSpec("b")])
def test_a_spec_dict_needs_keys(spec: SpecType) -> None:
    with pytest.raises(ValueError, match=r"^SpecDict needs a list or a mapping of keys, got "):
        SpecDict(spec)


def test_a_spec_is_150_levels_deep_at_most() -> None:
    deepest = DEEP["x"] if isinstance(DEEP, dict) else None
    assert len(list(leaves(canonical(deepest)))) == 1
    assert canonical([("x",) * 150]) == canonical(deepest)
    said = "the spec is nested deeper than 150 levels"
    for spec, place in ((DEEP, "x." * 30 + "... "), ([("x",) * 151], "... ")):
        with pytest.raises(ValueError, match=said) as refused:
            canonical(spec)
        assert str(refused.value) == place + said


def test_a_size_given_by_keyword_is_found_with_its_first_place() -> None:
    spec = canonical({"y": TensorSpec("h"), "x": TensorSpec("b, h", h=10), "z": TensorSpec("h", h=10)})
    assert fixed_sizes(spec) == {"h": Binding(10, "x")}
    assert fixed_sizes(None) == {}
