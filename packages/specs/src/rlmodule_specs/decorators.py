"""Checks around a method: what goes in, what comes out, names bound across both.

    class Encoder:
        input_specs = {"obs": TensorSpec("b, h", h=10)}

        @check_input_specs("input_specs")
        def forward(self, batch): ...

The attribute holds a spec or is a method or a property that gives one. It is read once an object, at the
first call that is checked. Both decorators on one method make one wrapper. Checks that are off at import
leave the method as it is.
"""

from collections.abc import Callable
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar, cast

from rlmodule_specs.checker import CallChecker
from rlmodule_specs.compiled import Sizes
from rlmodule_specs.switching import DEFAULT, switch
from rlmodule_specs.tree import SpecType

__all__ = ["check_input_specs", "check_output_specs"]

P = ParamSpec("P")
R = TypeVar("R")

STORE = "_call_checkers"  # in the instance's __dict__
PLAN = "__specs_plan__"  # on a wrapper


class Side(NamedTuple):
    """One checked side of a call: the attribute that holds its spec, and whether other keys are refused."""

    attr: str
    exact: bool


class Plan(NamedTuple):
    """What is checked around a method."""

    method: Callable[..., object]
    inputs: Side | None
    outputs: Side | None

    @property
    def parameter(self) -> str:
        """The name of the argument that is checked: the first one behind `self`."""
        code = self.method.__code__
        names = code.co_varnames[: code.co_argcount]
        return names[1] if len(names) > 1 else "batch"


class Store(dict[Plan, CallChecker]):
    """The checkers of one object. A copy or a pickle of the object starts with none."""

    def __reduce__(self) -> tuple[object, ...]:
        return Store, ()


def check_input_specs(attr: str, *, exact: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the first argument of a method against the spec in `attr`, before each call."""
    return lambda method: _wrapped(method, inputs=Side(attr, exact))


def check_output_specs(attr: str, *, exact: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check what a method returns against the spec in `attr`, after each call."""
    return lambda method: _wrapped(method, outputs=Side(attr, exact))


def _wrapped(
    method: Callable[P, R], *, inputs: Side | None = None, outputs: Side | None = None
) -> Callable[P, R]:
    if not DEFAULT:
        return method
    inner: Plan | None = getattr(method, PLAN, None)
    if inner is not None:  # the other decorator's wrapper: make one of the two
        if (inputs and inner.inputs) or (outputs and inner.outputs):
            raise ValueError(f"{method.__qualname__} has two specs for the same side: keep one decorator")
        inputs, outputs = inputs or inner.inputs, outputs or inner.outputs
        method = cast(Callable[P, R], inner.method)
    plan = Plan(method, inputs, outputs)
    wrapper = _wrapper(method, plan)
    setattr(wrapper, PLAN, plan)
    return wrapper


def _wrapper(method: Callable[P, R], plan: Plan) -> Callable[P, R]:
    parameter = plan.parameter
    checks_input = plan.inputs is not None

    @wraps(method)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not switch.on:
            return method(*args, **kwargs)
        call = checkers_of(args[0], plan)
        sizes: Sizes = ()
        if checks_input and (len(args) > 1 or parameter in kwargs):  # else the method says what it lacks
            sizes = call.input(args[1] if len(args) > 1 else kwargs[parameter])
        result = method(*args, **kwargs)
        call.output(result, sizes)
        return result

    return checked


def checkers_of(owner: object, plan: Plan) -> CallChecker:
    """The checkers of one object's method, made at its first call; at each where it cannot keep them."""
    store = getattr(owner, STORE, None)
    if store is None:
        store = Store()
        if hasattr(owner, "__dict__"):
            vars(owner)[STORE] = store
    call: CallChecker | None = store.get(plan)
    if call is None:
        call = store[plan] = _make(owner, plan)
    return call


def _make(owner: object, plan: Plan) -> CallChecker:
    inputs, input_rule = _read(owner, plan.inputs)
    outputs, output_rule = _read(owner, plan.outputs)
    return CallChecker(
        inputs,
        outputs,
        exact_input=plan.inputs is not None and plan.inputs.exact,
        exact_output=plan.outputs is not None and plan.outputs.exact,
        where=f"{type(owner).__name__}.{plan.method.__name__}",
        subject=f"the {plan.parameter}",
        input_rule=input_rule,
        output_rule=output_rule,
    )


def _read(owner: object, side: Side | None) -> tuple[SpecType, str]:
    """The spec in an attribute, and how the message calls it."""
    if side is None:
        return None, ""
    found = getattr(owner, side.attr)
    if callable(found) and not isinstance(found, type):
        return found(), f"{side.attr}()"
    return found, side.attr
