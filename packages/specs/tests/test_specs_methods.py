"""The method decorators: before the method runs, for every call, on the very object that was passed in."""

import pickle
from copy import deepcopy
from typing import Any, ClassVar

import pytest

from rlmodule_specs import CallChecker, SpecError, SpecType, TensorSpec, check_input_specs, check_output_specs


class Net:
    input_specs: ClassVar[SpecType] = {"obs": int}

    def __init__(self, outputs: SpecType = ("logits",)) -> None:
        self.outputs = list(outputs) if isinstance(outputs, tuple) else outputs
        self.calls: list[object] = []

    def output_specs(self) -> SpecType:
        self.calls.append("output_specs")
        return self.outputs

    @property
    def loose(self) -> SpecType:
        self.calls.append("loose")
        return ["obs"]

    @check_input_specs("input_specs")
    @check_output_specs("output_specs")
    def forward(self, batch: object, result: object = "ok") -> object:
        """Docs of forward."""
        self.calls.append(batch)
        return {"logits": 1} if result == "ok" else result

    @check_input_specs("loose", exact=True)
    def strict(self, batch: object) -> object:
        return batch

    @check_output_specs("output_specs", exact=True)
    def produce(self, *, result: object) -> object:
        return result

    @check_input_specs("input_specs")
    def without(self, batch: object = None) -> object:
        return batch

    @check_input_specs("missing")
    def unknown(self, batch: object) -> None: ...


def test_valid_data_reaches_the_method_as_the_object_that_was_passed() -> None:
    net, batch = Net(), {"obs": 1, "more": 2}
    assert net.forward(batch) == {"logits": 1}
    assert net.calls[-1] is batch
    net.forward(batch=batch)
    assert net.calls[-1] is batch


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_wrong_data_never_reaches_the_method(number: int) -> None:
    net = Net()
    for _ in range(number - 1):
        net.forward({"obs": 1})
    net.calls.clear()
    with pytest.raises(SpecError) as refused:
        net.forward({"obs": "x"})
    assert str(refused.value) == (
        "Net.forward: the batch breaks input_specs in 1 place\n  obs:  expected int, got str"
    )
    with pytest.raises(SpecError):
        net.forward(batch={"obs": "x"})
    assert net.calls in ([], ["output_specs"])


def test_a_wrong_result_is_refused() -> None:
    net = Net()
    with pytest.raises(SpecError) as refused:
        net.forward({"obs": 1}, result={"logit": 1})
    assert str(refused.value) == (
        "Net.forward: the result breaks output_specs() in 1 place\n"
        "  logits:  expected anything, got no such key, did you mean 'logit'?"
    )
    assert refused.value.where == "Net.forward"


def test_the_attribute_is_read_once_an_object() -> None:
    net = Net()
    for _ in range(3):
        net.forward({"obs": 1})
        net.strict({"obs": 1})
    assert net.calls.count("output_specs") == 1
    assert net.calls.count("loose") == 1
    other = Net(outputs=int)
    with pytest.raises(SpecError, match="expected int, got a mapping with key 'logits'"):
        other.forward({"obs": 1})
    net.forward({"obs": 1})


def test_exact_is_said_for_each_side() -> None:
    net = Net()
    net.strict({"obs": 1})
    with pytest.raises(SpecError, match="x:  expected no such key, got int"):
        net.strict({"obs": 1, "x": 2})
    net.produce(result={"logits": 1})
    with pytest.raises(SpecError, match="x:  expected no such key, got int"):
        net.produce(result={"logits": 1, "x": 2})
    net.forward({"obs": 1, "x": 2}, result={"logits": 1, "x": 2})


def test_an_argument_left_at_its_default_is_not_checked() -> None:
    assert Net().without() is None
    with pytest.raises(SpecError):
        Net().without(None)


def test_a_missing_argument_is_the_methods_own_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'batch'"):
        Net().forward()  # type: ignore[call-arg]  # the mistake that is tested


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'missing'"):
        Net().unknown(1)


def test_the_wrapper_looks_like_the_method_and_is_one_layer() -> None:
    assert Net.forward.__name__ == "forward"
    assert Net.forward.__doc__ == "Docs of forward."
    inner = vars(Net.forward)["__wrapped__"]
    assert not hasattr(inner, "__wrapped__")


def test_two_specs_for_one_side_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^Net.forward has two specs for the same side: keep one deco"):
        check_input_specs("other")(Net.forward)
    with pytest.raises(ValueError, match="two specs for the same side"):
        check_output_specs("other")(Net.produce)


class Child(Net):
    input_specs: ClassVar[SpecType] = {"obs": int, "mask": str}

    @check_input_specs("input_specs")
    def forward(self, batch: object, result: object = "ok") -> object:
        return super().forward(batch, result)


def test_a_subclass_has_its_own_spec_and_name() -> None:
    Child().forward({"obs": 1, "mask": "x"})
    with pytest.raises(SpecError, match=r"Child.forward: the batch breaks input_specs in 1 place\n  mask:"):
        Child().forward({"obs": 1})


class Undecorated(Net):
    def forward(self, batch: object, result: object = "ok") -> object:
        return "free"


def test_an_override_without_decorators_is_free() -> None:
    assert Undecorated().forward(3) == "free"


def test_copies_and_pickles_are_checked_too_and_read_their_own_spec() -> None:
    net = Net()
    net.forward({"obs": 1})
    for copy in (deepcopy(net), pickle.loads(pickle.dumps(net))):
        with pytest.raises(SpecError):
            copy.forward({"obs": "x"})
        copy.outputs = int
        fresh = deepcopy(copy)
        with pytest.raises(SpecError, match="expected int"):
            fresh.forward({"obs": 1})


class Slotted:
    __slots__ = ()
    specs: ClassVar[SpecType] = ["obs"]

    @check_input_specs("specs")
    def forward(self, batch: object) -> object:
        return batch


def test_an_object_without_a_dict_is_checked_too() -> None:
    slotted = Slotted()
    assert slotted.forward({"obs": 1}) == {"obs": 1}
    for _ in range(2):
        with pytest.raises(SpecError, match=r"Slotted.forward: the batch breaks specs in 1 place"):
            slotted.forward({})


class Kind:
    wanted = int

    @check_input_specs("wanted")
    def take(self, thing: object) -> object:
        return thing


def test_a_class_is_a_spec_and_is_not_called() -> None:
    assert Kind().take(3) == 3
    with pytest.raises(SpecError, match=r"Kind.take: the thing breaks wanted in 1 place\n  \(root\):"):
        Kind().take("x")


class Open:
    wanted: ClassVar[SpecType] = ["a"]

    @check_input_specs("wanted")
    def take(self, *anything: object, **more: object) -> object:
        return anything or more


def test_the_first_argument_of_a_method_without_names_is_the_batch() -> None:
    assert Open().take({"a": 1}, 2) == ({"a": 1}, 2)
    assert Open().take(batch={"a": 1}) == {"batch": {"a": 1}}
    assert Open().take(other=1) == {"other": 1}
    for arguments, named in (((), {"batch": {}}), (({},), {})):
        with pytest.raises(SpecError, match=r"^Open.take: the batch breaks wanted in 1 place"):
            Open().take(*arguments, **named)


def test_a_call_checker_checks_nothing_where_there_is_no_spec() -> None:
    call = CallChecker(None, ["x"])
    assert call.input(object()) == ()
    with pytest.raises(SpecError) as refused:
        call.output({}, ())
    assert str(refused.value).startswith("the result breaks the output spec in 1 place\n")
    with pytest.raises(SpecError, match=r"^the batch breaks the input spec in 1 place\n"):
        CallChecker(["x"], None).input({})


def test_a_call_checker_survives_pickling() -> None:
    words: dict[str, Any] = {
        "subject": "the x",
        "result": "the y",
        "input_rule": "in()",
        "output_rule": "out()",
    }
    call = CallChecker({"a": int}, ["b"], exact_input=True, exact_output=True, where="A.b", **words)
    for copy in (call, pickle.loads(pickle.dumps(call)), deepcopy(call)):
        with pytest.raises(SpecError, match=r"A.b: the x breaks in\(\) in 1 place\n  z:  "):
            copy.input({"a": 1, "z": 0})
        with pytest.raises(SpecError, match=r"A.b: the y breaks out\(\) in 1 place\n  z:  ") as refused:
            copy.output({"b": 1, "z": 0})
    error = pickle.loads(pickle.dumps(refused.value))
    assert str(error) == str(refused.value)
    assert error.problems == refused.value.problems


def test_a_size_that_differs_between_input_and_output_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="h") as refused:
        CallChecker({"x": TensorSpec("b, h", h=10)}, TensorSpec("h", h=9))
    assert str(refused.value) == (
        "'h' is given as 10 by x of the batch and as 9 by (root) of the result: "
        "a name has one size in the input and the output of a call, use two names"
    )
    CallChecker({"x": TensorSpec("b, h", h=10)}, TensorSpec("h", h=10))
