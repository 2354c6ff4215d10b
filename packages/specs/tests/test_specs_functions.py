"""`checked` around anyone's function: named arguments and the return value."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest

from rlmodule_specs import SpecDict, SpecError, TensorSpec, checked

NUMBERS = SpecDict({"n": int})


@checked(first=["a"], second=int, returns=str)
def plain(
    first: object, second: object = "unchecked", *rest: object, third: int = 0, **more: object
) -> object:
    """Docs of plain."""
    return first if third else "done"


def test_arguments_are_checked_by_name_however_they_are_passed() -> None:
    assert plain({"a": 1}, 2) == "done"
    assert plain(second=2, first={"a": 1}) == "done"
    assert plain({"a": 1}) == "done"
    calls: list[Callable[[], object]] = [
        lambda: plain({"b": 1}, "x"),
        lambda: plain({"b": 1}, second="x"),
        lambda: plain(second="x", first={"b": 1}),
    ]
    for call in calls:
        with pytest.raises(SpecError) as refused:
            call()
        assert str(refused.value) == (
            "plain: the call breaks its spec in 2 places\n"
            "  first.a:  expected anything, got no such key, there are 'b'\n"
            "  second:   expected int, got str"
        )


def test_the_result_is_checked() -> None:
    with pytest.raises(SpecError) as refused:
        plain({"a": 1}, third=1)
    assert str(refused.value) == (
        "plain: the result breaks its spec in 1 place\n  (root):  expected str, got a mapping with key 'a'"
    )


def test_a_wrong_call_is_the_functions_own_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'first'"):
        plain()  # type: ignore[call-arg]  # the mistake that is tested
    with pytest.raises(TypeError, match="multiple values for argument 'first'"):
        plain({"a": 1}, first={"a": 1})  # type: ignore[misc]  # the mistake that is tested


@checked(only=int)
def keyword_only(*rest: object, only: object = None) -> object:
    return only


def test_keyword_only_arguments_are_never_taken_from_positions() -> None:
    assert keyword_only("x", "y") is None
    assert keyword_only("x", only=3) == 3
    with pytest.raises(
        SpecError, match=r"keyword_only: the call breaks its spec in 1 place\n  only:  expected int"
    ):
        keyword_only(*range(2000), only="x")


@checked
def annotated(
    numbers: Annotated[dict[str, int], NUMBERS, "other metadata"], free: Annotated[int, "no spec"] = 0
) -> Annotated[dict[str, int], NUMBERS]:
    return {"n": 1} if free == 0 else {}


def test_specs_are_read_from_annotations() -> None:
    assert annotated({"n": 1}) == {"n": 1}
    with pytest.raises(SpecError, match=r"annotated: the call breaks its spec in 1 place\n  numbers.n:  "):
        annotated({})
    with pytest.raises(SpecError, match=r"annotated: the result breaks its spec in 1 place\n  n:  "):
        annotated({"n": 1}, 1)


def test_the_first_spec_of_an_annotation_counts() -> None:
    @checked
    def twice(x: Annotated[Any, SpecDict({"a": int}), SpecDict({"b": int})]) -> Any:
        return x

    assert twice({"a": 1}) == {"a": 1}
    with pytest.raises(SpecError, match=r"x\.a:  "):
        twice({"b": 1})


def test_annotations_written_as_strings_are_read() -> None:
    @checked
    def late(numbers: "Annotated[dict[str, int], NUMBERS]") -> None: ...

    with pytest.raises(SpecError):
        late({})


def test_annotations_that_cannot_be_read_are_refused_with_what_to_do() -> None:
    def broken(x: "Nowhere") -> object:  # type: ignore[name-defined]  # noqa: F821 - the mistake
        return x

    with pytest.raises(ValueError, match="broken: an annotation cannot be read") as refused:
        checked(broken)
    assert str(refused.value).endswith("(name 'Nowhere' is not defined): pass the specs to checked()")
    assert checked(x=int)(broken)(3) == 3


def test_the_function_keeps_its_name_and_docs() -> None:
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Docs of plain."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frist", "plain has no argument 'frist': did you mean 'first'?"),
        ("rest", "plain has no argument 'rest': did you mean 'first'?"),
        ("more", "plain has no argument 'more': known are 'first', 'second', 'third'"),
    ],
)
def test_an_unknown_argument_is_refused(name: str, message: str) -> None:
    function: Callable[..., object] = vars(plain)["__wrapped__"]
    specs: dict[str, Any] = {name: int}
    with pytest.raises(ValueError, match="has no argument") as refused:
        checked(**specs)(function)
    assert str(refused.value) == message


class Loss:
    @checked(weight=int)
    def __call__(self, weight: object) -> object:
        return weight


def test_a_method_is_a_function_too() -> None:
    assert Loss()(3) == 3
    with pytest.raises(SpecError, match=r"Loss.__call__: the call breaks its spec"):
        Loss()("x")


def test_names_are_bound_across_arguments_and_result() -> None:
    numpy = pytest.importorskip("numpy")

    @checked(x=TensorSpec("b, n"), w=TensorSpec("n, m"), returns=TensorSpec("b, m"))
    def product(x: Any, w: Any, wrong: bool = False) -> Any:
        return (x @ w).T if wrong else x @ w

    assert product(numpy.ones((2, 3)), numpy.ones((3, 4))).shape == (2, 4)
    with pytest.raises(SpecError) as refused:
        product(numpy.ones((2, 3)), numpy.ones((5, 4)))
    assert str(refused.value).endswith("\n  w:  expected [n, m] with n=3 (bound by x), got [5, 4]")
    with pytest.raises(SpecError) as refused:
        product(numpy.ones((2, 3)), numpy.ones((3, 4)), wrong=True)
    assert str(refused.value).endswith(
        "expected [b, m] with b=2 (bound by x of the call), m=4 (bound by w of the call), got [4, 2]"
    )
