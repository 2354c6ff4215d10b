"""`Checker`, `CallChecker` and `check`: their defaults, their copies, what they tell."""

import pickle
from copy import copy, deepcopy

import pytest

from rlmodule_specs import CallChecker, Checker, Problem, SpecError, TensorSpec, check


def test_a_checker_survives_pickling_and_copying() -> None:
    checker = Checker({"a": int}, exact=True)
    for other in (pickle.loads(pickle.dumps(checker)), deepcopy(checker), copy(checker)):
        assert (other.spec, other.exact, other.values) == (checker.spec, True, False)
        assert [problem.path for problem in other.problems({"a": 1, "b": 2})] == ["b"]
    assert pickle.loads(pickle.dumps(Checker(int, values=True))).values
    assert not pickle.loads(pickle.dumps(Checker(int))).exact


def test_nothing_is_exact_unless_it_is_asked_for() -> None:
    more = {"a": 1, "b": 2}
    check(more, ["a"])
    Checker(["a"]).check(more)
    call = CallChecker(["a"], ["a"])
    assert call.output(more, call.input(more)) == ()
    with pytest.raises(SpecError):
        CallChecker(["a"], ["a"], exact_input=True).input(more)
    with pytest.raises(SpecError):
        CallChecker(["a"], ["a"], exact_output=True).output(more)


def test_values_are_not_read_unless_it_is_asked_for() -> None:
    numpy = pytest.importorskip("numpy")
    wrong, spec = numpy.array([7.0]), TensorSpec("b").within(0, 1)
    check(wrong, spec)
    Checker(spec).check(wrong)
    CallChecker(spec, spec).input(wrong)
    with pytest.raises(SpecError):
        check(wrong, spec, values=True)
    with pytest.raises(SpecError) as refused:
        Checker(spec, values=True).check(wrong)
    assert str(refused.value).startswith("the data breaks the spec in 1 place\n")
    assert refused.value.where == ""
    with pytest.raises(SpecError, match=r"^here: the data breaks"):
        Checker(spec, values=True).check(wrong, (), "here")
    assert Checker(spec, values=True).check(numpy.array([0.5])) == (1,)
    assert Checker(None, values=True).check(wrong) == ()


def test_an_error_made_with_words_survives_pickling() -> None:
    error = SpecError((Problem("a", "b", "c"),), subject="the x", rule="y", where="here")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(error).startswith("here: the x breaks y in 1 place\n")


def test_the_sizes_of_all_names_are_returned_in_the_order_of_the_spec() -> None:
    numpy = pytest.importorskip("numpy")
    spec = {"x": TensorSpec("b, h"), "y": TensorSpec("a, b", a=2)}
    data = {"x": numpy.zeros((3, 4)), "y": numpy.zeros((2, 3))}
    checker = Checker(spec)
    for _ in range(2):
        assert checker.check(data) == (3, 4)
    assert checker.sizes(data) == {"a": 2, "b": 3, "h": 4}
    with pytest.raises(SpecError) as refused:
        checker.sizes({"x": 1, "y": 2})
    assert [problem.path for problem in refused.value.problems] == ["x", "y"]
    call = CallChecker(spec, TensorSpec("h, c"))
    assert call.output(numpy.zeros((4, 5)), call.input(data)) == (3, 4, 5)


def test_the_place_is_the_callers_or_that_of_the_call() -> None:
    call = CallChecker(["a"], ["a"], where="Net.forward")
    for ask in (call.input, call.output):
        with pytest.raises(SpecError, match=r"^Net.forward: "):
            ask({})
        with pytest.raises(SpecError, match=r"^elsewhere: "):
            ask({}, (), "elsewhere")
    with pytest.raises(SpecError, match=r"^there: the data breaks the spec"):
        check({}, ["a"], where="there")
    with pytest.raises(SpecError, match=r"^the batch breaks the input spec"):
        CallChecker(["a"], None).input({})


def test_equal_specs_share_one_compiled_check_and_others_do_not() -> None:
    from rlmodule_specs.checker import _kept

    _kept.cache_clear()
    for _ in range(3):
        check({"a": 1}, {"a": int})
    assert _kept.cache_info().currsize == 1
    check({"a": 1}, {"a": int}, exact=True)
    check({"a": 1}, {"a": int}, values=True)
    check({"a": 1}, ["a"])
    assert _kept.cache_info().currsize == 4
    assert _kept.cache_info().maxsize == 256
