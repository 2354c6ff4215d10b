"""NestedDict: the contract of nested get, set, delete, filter, merge and equality."""

import copy
import pickle
from typing import Any

import pytest

from rlmodule_core import NestedDict


def tree() -> NestedDict:
    return NestedDict({"obs": {"arm": {"joint": 1, "hand": 2}, "leg": 3}, "mask": 4})


def test_keys_are_strings_or_paths_of_strings_in_any_mixture() -> None:
    data = tree()

    assert data["obs", "arm", "joint"] == data["obs"]["arm"]["joint"] == data["obs"]["arm", "joint"] == 1
    assert data[("mask",)] == data["mask"] == 4
    assert NestedDict([(("a", "b"), 1), ("c", 2)]) == {"a": {"b": 1}, "c": 2}
    assert NestedDict({("a", "b"): 1, ("a", "c"): 2}) == {"a": {"b": 1, "c": 2}}


def test_a_partial_path_gets_the_sub_tree_which_shares_storage() -> None:
    data = tree()
    arm = data["obs", "arm"]

    assert isinstance(arm, NestedDict)
    assert arm == {"joint": 1, "hand": 2}
    arm["joint"] = 10
    assert data["obs", "arm", "joint"] == 10


def test_setting_makes_parents_and_copies_mappings() -> None:
    data = NestedDict()
    given = {"y": 1}
    data["a", "b", "c"] = 5
    data["a", "x"] = given
    given["y"] = 2

    assert data == {"a": {"b": {"c": 5}, "x": {"y": 1}}}


@pytest.mark.parametrize("key", ["nothing", ("obs", "eye"), ("obs", "arm", "joint", "deeper"), ("mask", "x")])
def test_a_missing_path_is_a_key_error_with_the_full_path(key: Any) -> None:
    data = tree()
    shown = key if isinstance(key, str) else ".".join(key)

    for use in (data.__getitem__, data.__delitem__, data.pop):
        with pytest.raises(KeyError, match=shown):
            use(key)
    assert key not in data
    assert data.get(key, 7) == 7
    assert data == tree()


@pytest.mark.parametrize("key", [1, (), ("a", 1), None, ["a"]])
def test_a_key_of_another_kind_is_refused_and_never_contained(key: Any) -> None:
    with pytest.raises(KeyError, match="a key is a str or a non-empty tuple of str"):
        NestedDict()[key] = 1
    assert key not in tree()


def test_nothing_can_be_put_below_a_leaf_and_the_error_names_the_leaf() -> None:
    data = tree()

    with pytest.raises(KeyError, match=r"obs\.leg\.toe\.nail: obs\.leg holds a leaf"):
        data["obs", "leg", "toe", "nail"] = 1

    assert data == tree()


def test_a_refused_value_leaves_no_empty_parents_behind() -> None:
    data = NestedDict({"x": 1})

    with pytest.raises(KeyError):
        data["a", "b"] = {1: 2}

    assert data.asdict() == {"x": 1}


def test_contains_knows_leaves_and_sub_trees() -> None:
    data = tree()
    assert "obs" in data
    assert ("obs", "arm") in data
    assert ("obs", "arm", "hand") in data
    assert ("obs", "hand") not in data


def test_iteration_yields_the_paths_of_the_leaves_and_len_counts_them() -> None:
    data = tree()

    assert list(data) == [("obs", "arm", "joint"), ("obs", "arm", "hand"), ("obs", "leg"), "mask"]
    assert len(data) == 4
    assert list(data.values()) == [1, 2, 3, 4]
    assert [data[key] for key in data] == [1, 2, 3, 4]


def test_deleting_the_last_leaf_prunes_the_emptied_parents_and_no_others() -> None:
    data = tree()

    del data["obs", "arm", "joint"]
    assert data.asdict() == {"obs": {"arm": {"hand": 2}, "leg": 3}, "mask": 4}
    del data["obs", "arm", "hand"]
    assert data.asdict() == {"obs": {"leg": 3}, "mask": 4}
    del data["obs"]
    assert data.asdict() == {"mask": 4}
    data.clear()
    assert data.asdict() == {}


def test_filter_keeps_just_the_named_paths() -> None:
    data = tree()

    assert data.filter([("obs", "arm", "hand"), "mask"]) == {"obs": {"arm": {"hand": 2}}, "mask": 4}
    assert data.filter([("obs", "arm")]) == {"obs": {"arm": {"joint": 1, "hand": 2}}}
    assert data.filter([]) == {}
    assert data.filter(iter(["mask"])) == {"mask": 4}


def test_filter_names_every_missing_path_unless_they_are_ignored() -> None:
    with pytest.raises(KeyError, match=r"missing: obs\.eye, nose"):
        tree().filter(["mask", ("obs", "eye"), "nose"])
    assert tree().filter(["mask", ("obs", "eye")], ignore_missing=True) == {"mask": 4}


def test_a_filtered_tree_is_a_copy() -> None:
    data = tree()
    data.filter([("obs", "arm")])["obs", "arm", "hand"] = 99
    assert data == tree()


@pytest.mark.parametrize(
    ("left", "right", "merged"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3, "z": 4}}, {"a": {"x": 1, "y": 3, "z": 4}}),
        ({"a": {"x": {"u": 1}}}, {"a": {"x": {"v": 2}}}, {"a": {"x": {"u": 1, "v": 2}}}),
        ({"a": {"x": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
        ({}, {("a", "b"): 1}, {"a": {"b": 1}}),
    ],
)
def test_merging_is_deep_and_the_right_side_wins(left: Any, right: Any, merged: Any) -> None:
    first = NestedDict(left)

    assert (first | right).asdict() == merged
    assert (first | NestedDict(right)).asdict() == merged
    assert first == left  # neither side is changed
    in_place = first
    in_place |= right
    assert in_place == merged


def test_a_merge_shares_no_sub_tree_with_its_sides() -> None:
    left, right = NestedDict({"a": {"x": 1}}), NestedDict({"b": {"y": 2}})

    merged = left | right
    merged["a", "x"], merged["b", "y"] = 10, 20

    assert left == {"a": {"x": 1}}
    assert right == {"b": {"y": 2}}


def test_only_mappings_can_be_merged() -> None:
    with pytest.raises(TypeError):
        tree() | 5  # type: ignore[operator]


def test_equality_is_that_of_the_plain_dict_with_the_same_content() -> None:
    assert tree() == tree().asdict()
    assert tree() == {("obs", "arm"): {"joint": 1, "hand": 2}, ("obs", "leg"): 3, "mask": 4}
    assert tree() != {"mask": 4}
    assert NestedDict() != {1: 2}
    assert NestedDict() != 0
    with pytest.raises(TypeError, match="unhashable"):
        hash(tree())


def test_asdict_gives_plain_dicts_whose_change_does_not_come_back() -> None:
    data = tree()
    plain = data.asdict()

    assert type(plain["obs"]["arm"]) is dict
    plain["obs"]["arm"]["joint"] = 99
    assert data == tree()


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d)), NestedDict])
def test_copies_are_equal_and_independent(remake: Any) -> None:
    data = tree()

    other = remake(data)
    assert other == data
    other["obs", "leg"] = 0
    assert data == tree()
    assert repr(NestedDict({"a": {"b": 1}})) == "NestedDict({'a': {'b': 1}})"
