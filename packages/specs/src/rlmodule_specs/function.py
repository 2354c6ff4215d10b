"""Checks around anyone's function: named arguments and the return value, names bound across all of them.

@checked
def loss(logits: Annotated[Tensor, TensorSpec("b, a")], actions: Annotated[Tensor, TensorSpec("b")]): ...

@checked(logits=TensorSpec("b, a"), actions=TensorSpec("b"), returns=TensorSpec(""))
def loss(logits, actions): ...
"""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, overload

from rlmodule_specs.checker import CallChecker
from rlmodule_specs.switching import DEFAULT, switch
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import SpecDict, SpecType
from rlmodule_specs.wording import suggestion

__all__ = ["checked"]

P = ParamSpec("P")
R = TypeVar("R")

BY_NAME = sys.maxsize  # no call has that many arguments


@overload
def checked(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def checked(
    *, returns: SpecType = None, **arguments: SpecType
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def checked(
    function: Callable[P, R] | None = None, /, *, returns: SpecType = None, **arguments: SpecType
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Check a function's arguments before each call and its result after it.

    Bare, it reads the TensorSpec or SpecDict in each `Annotated[...]`; else it takes specs by argument name.
    An argument that is left at its default is not checked.
    """
    if function is None:
        return lambda function: _wrapped(function, arguments, returns)
    return _wrapped(function, *_from_annotations(function))


def _from_annotations(function: Callable[P, R]) -> tuple[dict[str, SpecType], SpecType]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        name = function.__qualname__
        raise ValueError(
            f"{name}: an annotation cannot be read ({error}): pass the specs to checked()"
        ) from error
    found: dict[str, SpecType] = {name: spec for name, hint in hints.items() for spec in _specs_in(hint)}
    returns = found.pop("return", None)
    return found, returns


def _specs_in(hint: object) -> list[TensorSpec | SpecDict]:
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return [item for item in metadata if isinstance(item, (TensorSpec, SpecDict))][:1]


def _wrapped(function: Callable[P, R], arguments: dict[str, SpecType], returns: SpecType) -> Callable[P, R]:
    places = _places(function, arguments)
    if not DEFAULT:
        return function
    calls: dict[tuple[str, ...], CallChecker] = {}  # one for each set of arguments that calls pass

    def call_with(names: tuple[str, ...]) -> CallChecker:
        given = SpecDict({name: arguments[name] for name in names}) if names else None
        where, rule = function.__qualname__, "its spec"
        return CallChecker(given, returns, where=where, subject="the call", input_rule=rule, output_rule=rule)

    complete = call_with(tuple(places))

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if not switch.on:
            return function(*args, **kwargs)
        given = {}
        for name, position in places.items():
            if position < len(args):
                given[name] = args[position]
            elif name in kwargs:
                given[name] = kwargs[name]
        call = complete
        if len(given) < len(places):
            names = tuple(given)
            call = calls.get(names) or calls.setdefault(names, call_with(names))
        sizes = call.input(given)
        result = function(*args, **kwargs)
        call.output(result, sizes)
        return result

    return wrapper


def _places(function: Callable[P, R], arguments: dict[str, SpecType]) -> dict[str, int]:
    """The position of each argument that has a spec; BY_NAME for those that have none."""
    parameters = inspect.signature(function).parameters
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [name for name, parameter in parameters.items() if parameter.kind not in variable]
    by_name_only = [name for name in names if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY]
    for name in arguments:
        if name not in names:
            raise ValueError(f"{function.__qualname__} has no argument {name!r}: {suggestion(name, names)}")
    return {name: BY_NAME if name in by_name_only else names.index(name) for name in arguments}
