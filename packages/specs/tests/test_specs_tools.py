"""The tools around specs that need no framework: axes, JSON, diff, inference, and what they refuse."""

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from rlmodule_specs import (
    Change,
    SpecDict,
    SpecType,
    TensorSpec,
    TorchTensorSpec,
    batched,
    canonical,
    diff,
    fill,
    from_json,
    infer,
    sample,
    to_json,
    with_time,
)

TREE: SpecType = {
    "obs": {"arm": TensorSpec("4", dtype="float32"), "id": str},
    "reward": TensorSpec(""),
    "x": None,
}


# --- axes


def test_batched_puts_an_axis_in_front_of_every_tensor() -> None:
    expected = SpecDict(
        {"obs": {"arm": TensorSpec("b, 4", dtype="float32"), "id": str}, "reward": TensorSpec("b"), "x": None}
    )
    assert batched(TREE) == batched(TREE, "b") == expected
    assert batched(TensorSpec("..., h", h=3), "n") == TensorSpec("n, ..., h", h=3)
    assert batched(TensorSpec("h"), "_") == TensorSpec("_, h")
    assert batched(TensorSpec("h"), "32") == TensorSpec("32, h")
    assert batched(TensorSpec("h").within(0, 1)) == TensorSpec("b, h").within(0, 1)


def test_with_time_puts_an_axis_behind_the_first() -> None:
    assert with_time(batched(TREE)) == SpecDict(
        {
            "obs": {"arm": TensorSpec("b, t, 4", dtype="float32"), "id": str},
            "reward": TensorSpec("b, t"),
            "x": None,
        }
    )
    assert with_time(TensorSpec("b, ..., h"), "time") == TensorSpec("b, time, ..., h")
    assert type(with_time(TorchTensorSpec("b"))) is TorchTensorSpec


BEHIND = "time stands behind a first axis, which shape"


@pytest.mark.parametrize(
    ("change", "spec", "name", "message"),
    [
        (batched, {"a": TensorSpec("b, 4")}, "b", "'b' is an axis of a already: choose another name"),
        (with_time, TensorSpec("b, t"), "t", "'t' is an axis of (root) already: choose another name"),
        (
            with_time,
            TensorSpec(""),
            "t",
            "time stands behind a first axis, which shape '' lacks: use batched() first",
        ),
        (
            with_time,
            TensorSpec("..., 4"),
            "t",
            "time stands behind a first axis, which shape '..., 4' lacks: use batched() first",
        ),
        (batched, None, "b, t", "one axis is added: write a name such as 'b', got 'b, t'"),
        (batched, None, "...", "one axis is added: write a name such as 'b', got '...'"),
        (batched, None, "", "one axis is added: write a name such as 'b', got ''"),
    ],
)
def test_an_axis_that_cannot_be_added_is_refused(
    change: Any, spec: SpecType, name: str, message: str
) -> None:
    with pytest.raises(ValueError, match="ax") as refused:
        change(spec, name)
    assert str(refused.value) == message


# --- JSON


class Outer:
    class Inner: ...


EVERYTHING: list[SpecType] = [
    None,
    int,
    (int, OrderedDict),
    TensorSpec(""),
    TensorSpec("b, h, _, 3, ...", h=10, dtype="float32", framework="jax"),
    TensorSpec("b").within(-1.5, 2),
    TensorSpec("b").within(high=0),
    TensorSpec("b", dtype="int64").one_of(4),
    {},
    TREE,
    {0: TensorSpec("b"), 1: {"x": None}},
    {"a": {0: None, "b": int}},
    [("a", "b"), "c d"],
    (Outer.Inner, Outer),
]


@pytest.mark.parametrize("spec", EVERYTHING, ids=repr)
def test_a_spec_survives_json(spec: SpecType) -> None:
    text = to_json(spec)
    assert from_json(text) == canonical(spec)
    assert to_json(from_json(text)) == text
    assert from_json(to_json(spec, indent=2)) == canonical(spec)
    assert "\n" not in text


def test_the_order_of_a_spec_survives_json() -> None:
    back = from_json(to_json({"z": None, "a": {1: None, 0: None}}))
    assert repr(back) == "SpecDict({'z': None, 'a': {1: None, 0: None}})"


NONE = "a spec is null or has 'tensor', 'class' or 'keys'"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"keys": {"a": 3}}, f"a: {NONE}, got 3"),
        (
            {"keys": {}, "more": 1},
            f"(root): {NONE}, got {{'keys': {{}}, 'more': 1}}",
        ),
        ({"class": "int"}, f"(root): {NONE}, got {{'class': 'int'}}"),
        ({"keys": {"a": {"keys": 3}}}, "a: 'keys' is an object or a list of pairs, got 3"),
        ({"keys": [["a"]]}, "(root): 'keys' is an object or a list of pairs, got [['a']]"),
        (
            {"keys": [[None, None]]},
            "None is no key: a key is a str, a whole number from 0 or a tuple of them",
        ),
        ({"tensor": "b h"}, "(root): shape 'b h': axes are separated by one comma, write 'b, h'"),
        ({"tensor": "b", "dtyp": "int8"}, "(root): a tensor has no 'dtyp': did you mean 'dtype'?"),
        ({"tensor": "b", "sizes": 3}, "(root): sizes is an object of sizes by name, got 3"),
        ({"tensor": 3}, "(root): a shape is written as a string: write 'b, h' instead of 3"),
        ({"class": ["nowhere:X"]}, "(root): the class 'nowhere:X' is not loaded: import nowhere first"),
        ({"class": ["builtins:Int"]}, "(root): 'builtins:Int' is no class"),
        ({"class": ["builtins:len"]}, "(root): 'builtins:len' is no class"),
        ({"class": [3]}, "(root): the class 3 is not loaded: import its module first"),
        ({"class": []}, "() is no spec: write a tuple of classes, or None for anything"),
    ],
)
def test_json_that_is_no_spec_is_refused_with_its_place(plain: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        from_json(json.dumps(plain))
    assert str(refused.value) == message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is no JSON: "):
        from_json(text)


# --- diff


def test_a_diff_names_each_place_that_changed() -> None:
    old: SpecType = {
        "image": TensorSpec("b, 84, 84"),
        "same": int,
        "gone": None,
        "sub": {"x": int},
        "kind": int,
    }
    new: SpecType = {
        "image": TensorSpec("b, 64, 64"),
        "new": ["k"],
        "same": int,
        "sub": {"x": str},
        "kind": {"a": int},
    }
    assert diff(old, new) == (
        Change("image", "[b, 84, 84]", "[b, 64, 64]"),
        Change("gone", "anything", "nothing"),
        Change("sub.x", "int", "str"),
        Change("kind", "int", "a mapping with key 'a'"),
        Change("new", "nothing", "a mapping with key 'k'"),
    )
    assert str(*diff(int, str)) == "(root): int -> str"
    assert diff(old, old) == diff(["a", "b"], ["b", "a"]) == ()
    assert diff({0: int}, int) == (Change("", "a sequence of at least 1 element", "int"),)
    assert diff(None, {}) == (Change("", "anything", "a mapping"),)


def test_a_diff_shows_what_reads_the_same_as_it_is_written() -> None:
    assert diff(TensorSpec("b, h", h=10), TensorSpec("b, 10")) == (
        Change("", "TensorSpec('b, h', h=10)", "TensorSpec('b, 10')"),
    )
    assert diff(TensorSpec("b").within(0, 1), TensorSpec("b")) == (
        Change("", "[b] with values in [0, 1]", "[b]"),
    )


# --- inference


class Point(NamedTuple):
    x: object
    y: object


@dataclass
class Sample:
    obs: object
    info: object


def test_the_spec_of_plain_data() -> None:
    data = {"a": 1, "b": {"c": "x", "d": None}, "e": [1, 2], "f": (), "g": Point(1.0, []), "h": Sample({}, 1)}
    expected: SpecType = {
        "a": int,
        "b": {"c": str, "d": type(None)},
        "e": list,
        "f": tuple,
        "g": {"x": float, "y": list},
        "h": {"obs": {}, "info": int},
    }
    assert infer(data) == SpecDict(expected)
    assert infer(({"a": 1}, {"b": 2})) == SpecDict({0: {"a": int}, 1: {"b": int}})


def test_data_that_no_spec_can_say_is_refused() -> None:
    deep: object = 1
    for _ in range(150):
        deep = {"x": deep}
    assert infer(deep) == SpecDict({("x",) * 150: int})
    with pytest.raises(ValueError, match="nested deeper than 150 levels"):
        infer({"x": deep})
    loop: dict[str, object] = {}
    loop["x"] = loop
    with pytest.raises(
        ValueError, match=r"^(x\.){30}\.{3} the data is nested deeper than 150 levels, or contains"
    ):
        infer(loop)
    with pytest.raises(ValueError, match=r"^a: \(1, 2\) cannot be a key of a spec$"):
        infer({"a": {(1, 2): 3}})
    with pytest.raises(ValueError, match=r"^\(root\): None cannot be a key of a spec$"):
        infer({None: 3})
    with pytest.raises(ValueError, match=r"^leading is a list of names: write \['b'\]$"):
        infer(1, leading="b")


# --- making data


def test_plain_data_is_made_from_a_spec() -> None:
    spec: SpecType = {
        "n": int,
        "s": (str, int),
        "any": None,
        "seq": {0: bool, 1: list},
        "by": {5: int},
        "mix": {0: int, "k": int},
    }
    expected = {"n": 0, "s": "", "any": None, "seq": (False, []), "by": {5: 0}, "mix": {0: 0, "k": 0}}
    assert fill(spec) == sample(spec) == SpecDict(spec).fill() == SpecDict(spec).sample(3) == expected
    assert fill(None) is None
    assert fill({}) == {}
    assert fill((Point, int)) == 0


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^a\.p: no instance of .*\.Point can be made without arguments$"):
        fill({"a": {"p": Point}})
    with pytest.raises(ValueError, match="no instance") as refused:
        fill((Point, Sample))
    names = f"{__name__}.Point or {__name__}.Sample"
    assert str(refused.value) == f"(root): no instance of {names} can be made without arguments"
    with pytest.raises(
        ValueError, match=r"^a size is given for 'c', a name not in the spec: known are 'b', 'h'$"
    ):
        fill(TensorSpec("b, h"), c=3)
    with pytest.raises(ValueError, match=r"^the size of 'h' is 4 in the spec, not 5$"):
        fill(TensorSpec("b, h", h=4), h=5)
    with pytest.raises(ValueError, match="the size of 'b' must be an integer of at least 1, got -1"):
        fill(TensorSpec("b, h"), b=-1)
    with pytest.raises(ValueError, match="values of dtype 'string' cannot be made"):
        sample(TensorSpec("b", dtype="string"))
    with pytest.raises(ValueError, match=r"no int8 is within \(300, 400\)"):
        sample(TensorSpec("b", dtype="int8").within(300, 400), b=1)
