"""Structure without tensors: keys, nesting, classes, containers. The standard library is enough."""

from collections import OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from rlmodule_specs import Checker, Problem, SpecError, SpecType, TensorSpec, check


class Pair(NamedTuple):
    obs: object
    mask: object


@dataclass
class Batch:
    obs: object
    mask: object = None


@dataclass
class Half:
    obs: object
    mask: object = field(init=False)  # never set: not there


class ReadOnly(Mapping[str, object]):
    def __init__(self, content: dict[str, object]) -> None:
        self.content = content

    def __getitem__(self, key: str) -> object:
        return self.content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)

    def __len__(self) -> int:
        return len(self.content)


class DictSubclass(dict[str, object]):
    pass


CONTAINERS: list[Callable[[dict[str, Any]], object]] = [
    dict,
    OrderedDict,
    UserDict,
    MappingProxyType,
    ReadOnly,
    DictSubclass,
    lambda content: defaultdict(list, content),
    lambda content: Batch(**content),
    lambda content: Pair(**content),
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gets_the_same_verdict(
    container: Callable[[dict[str, Any]], object],
) -> None:
    spec: SpecType = {"obs": {"arm": int}, "mask": str}
    check(container({"obs": {"arm": 1}, "mask": "x"}), spec, exact=True)
    with pytest.raises(SpecError) as refused:
        check(container({"obs": {"leg": 1}, "mask": 3}), spec, exact=True)
    assert refused.value.problems == (
        Problem("obs.arm", "int", "no such key, there are 'leg'"),
        Problem("obs.leg", "no such key", "int"),
        Problem("mask", "str", "int"),
    )


def test_a_field_that_was_never_set_is_not_there() -> None:
    with pytest.raises(SpecError, match=r"mask:  expected anything, got no such key, there are 'obs'"):
        check(Half(1), ["obs", "mask"])
    check(Half(1), ["obs"], exact=True)


def test_a_defaultdict_does_not_grow() -> None:
    data: defaultdict[str, list[int]] = defaultdict(list)
    with pytest.raises(SpecError):
        check(data, ["obs"])
    assert not data


VALID: list[tuple[object, SpecType]] = [
    (object(), None),
    ({}, None),
    (3, int),
    (True, int),
    ("x", (int, str)),
    ({}, {}),
    ({"a": 1}, {}),
    ({"a": 1}, []),
    ({"a": None}, ["a"]),
    ({"a": {"b": 1}}, ["a", ("a", "b")]),
    ({"a": {"b": 1}, "c": 2}, {("a", "b"): int}),
    ({"a": 1, 5: 2, None: 3}, ["a"]),
    ({0: "x"}, {0: str}),
    (("x", 1), {0: str, 1: int}),
    (["x", 1], {0: str}),
    (Pair("x", 1), {0: str, 1: int}),
    (Pair("x", 1), {"obs": str, "mask": int}),
    ({"a": (1, {"b": 2})}, {("a", 1, "b"): int}),
    ({"a": 1}, {"a": int | None}),
    ({"a": None}, {"a": int | None}),
]


@pytest.mark.parametrize(("data", "spec"), VALID)
def test_data_that_is_right_is_accepted(data: object, spec: SpecType) -> None:
    check(data, spec)
    assert Checker(spec).problems(data) == ()


KEYS_OBS = "a mapping with key 'obs'"
INVALID: list[tuple[object, SpecType, list[tuple[str, str, str]]]] = [
    ("x", int, [("", "int", "str")]),
    (None, int, [("", "int", "None")]),
    (1.5, (int, str), [("", "int or str", "float")]),
    (3, ["obs"], [("", KEYS_OBS, "int")]),
    (None, ["obs"], [("", KEYS_OBS, "None")]),
    ("obs", ["obs"], [("", KEYS_OBS, "str")]),
    (["obs"], ["obs"], [("", KEYS_OBS, "a list of 1 element")]),
    ((1, 2), ["obs"], [("", KEYS_OBS, "a tuple of 2 elements")]),
    ([], {}, [("", "a mapping", "a list of 0 elements")]),
    (deque(), ["obs"], [("", KEYS_OBS, "collections.deque")]),
    ({}, ["obs"], [("obs", "anything", "no such key in an empty mapping")]),
    ({"obss": 1}, ["obs"], [("obs", "anything", "no such key, did you mean 'obss'?")]),
    ({"a": 1, 2: 3}, ["obs"], [("obs", "anything", "no such key, there are 'a', 2")]),
    (
        dict.fromkeys("abcdef", 0),
        {"obs": int},
        [("obs", "int", "no such key, there are 'a', 'b', 'c', 'd', 'e', ...")],
    ),
    ({"obs": 1}, {"obs": {"arm": int}}, [("obs", "a mapping with key 'arm'", "int")]),
    ({"obs": {"arm": 1}}, {"obs": int}, [("obs", "int", "a mapping with key 'arm'")]),
    ({"obs": {}}, {"obs": int}, [("obs", "int", "an empty mapping")]),
    ({"obs": {}}, {"obs": TensorSpec("b, 3")}, [("obs", "[b, 3]", "an empty mapping")]),
    ({"obs": [[1, 2]]}, {"obs": TensorSpec("b, 2")}, [("obs", "[b, 2]", "a list of 1 element")]),
    ({"obs": 1.5}, {"obs": TensorSpec("")}, [("obs", "[]", "float")]),
    ({"obs": Pair(1, 2)}, {"obs": int}, [("obs", "int", f"{__name__}.Pair")]),
    (
        {"obs": 3},
        {"obs": dict.fromkeys("abcdefg")},
        [("obs", "a mapping with keys 'a', 'b', 'c', 'd', 'e', ...", "int")],
    ),
    ((1,), {0: int, 1: int}, [("[1]", "int", "no such key, there are 0")]),
    (3, {0: int}, [("", "a sequence of at least 1 element", "int")]),
    ({"a": ()}, {"a": {1: int}}, [("a[1]", "int", "no such key in an empty mapping")]),
    ({"a": 3}, {"a": {2: int}}, [("a", "a sequence of at least 3 elements", "int")]),
    (
        {"obs": {"arm": {"left hand": 1}}},
        {"obs": {"arm": {"left hand": {2: str}}}},
        [("obs.arm['left hand']", "a sequence of at least 3 elements", "int")],
    ),
    ([[1, "x"]], {0: {0: str, 1: int}}, [("[0][0]", "str", "int"), ("[0][1]", "int", "str")]),
]


@pytest.mark.parametrize(("data", "spec", "expected"), INVALID)
def test_data_that_is_wrong_is_refused_with_every_place(
    data: object, spec: SpecType, expected: list[tuple[str, str, str]]
) -> None:
    with pytest.raises(SpecError) as refused:
        check(data, spec)
    assert [tuple(problem) for problem in refused.value.problems] == expected
    assert Checker(spec).problems(data) == refused.value.problems


EXACT: list[tuple[object, SpecType, list[tuple[str, str, str]]]] = [
    ({"obs": 1, "x": 2.0}, ["obs"], [("x", "no such key", "float")]),
    ({"x": 2.0}, {}, [("x", "no such key", "float")]),
    ({"obs": {"a": 1, "b": [1]}}, [("obs", "a")], [("obs.b", "no such key", "a list of 1 element")]),
    (
        {"x": 1},
        ["obs"],
        [("obs", "anything", "no such key, there are 'x'"), ("x", "no such key", "int")],
    ),
    ((1, 2, 3), {0: int, 1: int}, [("[2]", "no such key", "int")]),
    (3, {0: int, 1: int}, [("", "a sequence of 2 elements", "int")]),
    ({"obs": 1, 3: 2}, ["obs"], [("[3]", "no such key", "int")]),
]


@pytest.mark.parametrize(("data", "spec", "expected"), EXACT)
def test_an_exact_spec_refuses_other_keys(
    data: object, spec: SpecType, expected: list[tuple[str, str, str]]
) -> None:
    assert [tuple(problem) for problem in Checker(spec, exact=True).problems(data)] == expected
    with pytest.raises(SpecError):
        check(data, spec, exact=True)


def test_nothing_is_asked_of_what_stands_under_none_also_when_exact() -> None:
    check({"obs": {"any": {"thing": 1}}}, {"obs": None}, exact=True)
    check({"obs": {"any": 1}}, ["obs"], exact=True)
    check({"x": 1}, None, exact=True)


def test_more_keys_than_a_message_looks_at_are_still_refused() -> None:
    data = {f"a{number}": 0 for number in range(1001)}
    spec: SpecType = dict.fromkeys(list(data)[:1000])
    refused = Problem("", "no other keys than its 1000", "1001 keys")
    assert Checker(spec, exact=True).problems(data) == (refused,)
    assert Checker(spec).problems(data) == ()


def test_problems_come_in_the_order_of_the_spec_whatever_was_checked_before() -> None:
    one: SpecType = {"a": int, "b": int}
    other: SpecType = {"b": int, "a": int}
    for spec, order in ((one, ["a", "b"]), (other, ["b", "a"]), (one, ["a", "b"])):
        with pytest.raises(SpecError) as refused:
            check({}, spec)
        assert [problem.path for problem in refused.value.problems] == order


def test_a_spec_that_is_changed_after_a_check_is_read_anew() -> None:
    spec: dict[str, type] = {"a": int}
    check({"a": 1}, spec)
    spec["a"] = str
    with pytest.raises(SpecError):
        check({"a": 1}, spec)


class WithFieldNames:
    _fields = ("obs",)
    obs = 1


class OddTuple(tuple[int, ...]):
    _fields = "obs"


def test_only_dataclasses_and_named_tuples_have_fields() -> None:
    for data in (WithFieldNames(), OddTuple(), Batch):
        with pytest.raises(SpecError, match="expected a mapping with key 'obs'"):
            check(data, ["obs"])


@pytest.mark.parametrize(
    ("data", "spec"),
    [
        ({"a": 1}, {"a": int}),
        ({"a": {"b": "x"}}, {"a": {"b": (int, str)}}),
        ({"a": (1, [2])}, {"a": {0: int, 1: {0: int}}}),
        (UserDict({"a": MappingProxyType({"b": 1})}), {"a": {"b": int}}),
        ({"a": 1}, ["a"]),
        (3, int),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_right_data_needs_no_walk(
    data: object, spec: SpecType, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker = Checker(spec, exact=exact)

    def walk(*arguments: object, **options: object) -> None:
        raise AssertionError("the compiled check did not accept")

    monkeypatch.setattr("rlmodule_specs.explain.Explanation.visit", walk)
    checker.check(data)
    with pytest.raises(AssertionError, match="did not accept"):
        checker.check(object())


def test_a_checker_prints_what_it_checks() -> None:
    assert repr(Checker({"a": int}, exact=True)) == "Checker(SpecDict({'a': int}), exact=True, values=False)"
