"""The words of a SpecError: a head, one aligned row a problem, the nearest name."""

import pytest

from rlmodule_specs import Checker, SpecError, TensorSpec, check


def test_the_message_has_a_head_and_one_aligned_row_a_problem() -> None:
    with pytest.raises(SpecError) as refused:
        check({"obs": {"arm": 1}}, {"obs": {"arm": str}, "action_mask": int}, where="Policy.act")
    assert str(refused.value) == (
        "Policy.act: the data breaks the spec in 2 places\n"
        "  obs.arm:      expected str, got int\n"
        "  action_mask:  expected int, got no such key, there are 'obs'"
    )
    assert refused.value.where == "Policy.act"
    assert isinstance(refused.value, ValueError)


def test_the_head_without_a_place_and_the_path_of_the_data_itself() -> None:
    with pytest.raises(SpecError) as refused:
        check(3, str)
    assert str(refused.value) == "the data breaks the spec in 1 place\n  (root):  expected str, got int"
    assert refused.value.where == ""


def test_20_problems_are_shown_and_the_rest_counted() -> None:
    data = dict.fromkeys((f"k{number:02}" for number in range(23)), 0)
    with pytest.raises(SpecError) as refused:
        check(data, dict.fromkeys(data, str))
    lines = str(refused.value).splitlines()
    assert lines[0] == "the data breaks the spec in 23 places"
    assert lines[1] == "  k00:  expected str, got int"
    assert lines[20:] == ["  k19:  expected str, got int", "  and 3 more"]
    assert len(refused.value.problems) == 23
    with pytest.raises(SpecError) as refused:
        check(data, dict.fromkeys(list(data)[:20], str))
    assert len(str(refused.value).splitlines()) == 21


def test_a_long_path_does_not_push_the_others_away() -> None:
    long = "x" * 60
    with pytest.raises(SpecError) as refused:
        check({}, [long, "a"])
    rows = str(refused.value).splitlines()[1:]
    assert rows[0].startswith(f"  {long}:  expected")
    assert rows[1].startswith("  a:" + " " * 40 + "expected")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_a_key_that_cannot_be_printed_is_shown_by_its_class() -> None:
    ((path, _, found), *_) = Checker([], exact=True).problems({Unprintable(): 1})
    assert (path, found) == ("[<Unprintable>]", "int")
    assert Checker(["a"]).problems({Unprintable(): 1})[0].found == "no such key, there are <Unprintable>"


@pytest.mark.parametrize(("length", "shown"), [(60, "[{}]".format("'" + "k" * 57 + " '")), (61, None)])
def test_a_repr_of_60_characters_is_the_longest_that_is_shown_whole(length: int, shown: str | None) -> None:
    key = "k" * (length - 3) + " "
    path = Checker([key]).problems({})[0].path
    assert path == (shown or "['" + "k" * 56 + "...]")


def test_a_repr_of_many_lines_is_one_line() -> None:
    class Lines:
        def __repr__(self) -> str:
            return "one\n   two"

    assert Checker(["a"]).problems({Lines(): 1})[0].found == "no such key, there are one two"


def test_where_nothing_is_known_the_message_says_so() -> None:
    with pytest.raises(ValueError, match="there are none") as refused:
        TensorSpec("3", h=2)
    assert str(refused.value) == "a size is given for 'h', a name not in shape '3': there are none"


def test_a_message_names_five_keys_and_says_whether_there_are_more() -> None:
    five, six = dict.fromkeys("abcde", 0), dict.fromkeys("abcdef", 0)
    assert Checker(int).problems(five)[0].found == "a mapping with keys 'a', 'b', 'c', 'd', 'e'"
    assert Checker(int).problems(six)[0].found == "a mapping with keys 'a', 'b', 'c', 'd', 'e', ..."
    assert Checker(["zz"]).problems(five)[0].found == "no such key, there are 'a', 'b', 'c', 'd', 'e'"
    assert Checker(["zz"]).problems(six)[0].found == "no such key, there are 'a', 'b', 'c', 'd', 'e', ..."


def test_the_nearest_key_is_the_one_that_is_named() -> None:
    found = Checker(["action"]).problems({"actions": 1, "action_": 2, "act": 3, 7: 4})[0].found
    assert found in {"no such key, did you mean 'actions'?", "no such key, did you mean 'action_'?"}
    assert Checker([3]).problems({"3": 1})[0].found == "no such key, there are '3'"


def test_what_raises_is_told_in_one_line_of_80_characters() -> None:
    class Long:
        @property  # type: ignore[misc]  # raises on purpose
        def __class__(self) -> type:
            raise ValueError("x" * 100 + "\nmore")

    found = Checker(int).problems(Long())[0].found
    assert found == f"{__name__}.{Long.__qualname__}, which raises ValueError: " + "x" * 80


def test_a_path_of_40_characters_still_aligns_the_others() -> None:
    for length, width in ((39, 40), (40, 40)):
        with pytest.raises(SpecError) as refused:
            check({}, ["x" * length, "a"])
        row = str(refused.value).splitlines()[2]
        assert row.index("expected") == 2 + width + 2


def test_an_error_without_problems_can_be_printed() -> None:
    assert str(SpecError(())) == "the data breaks the spec in 0 places\n"
