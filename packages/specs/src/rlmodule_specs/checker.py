"""A spec made ready: compiled once, then called for every piece of data.

`Checker` is for one structure. `CallChecker` is for the input and the output of one call, with names bound
across both; the decorators use it, and so may whoever calls functions by other ways.
"""

from functools import lru_cache, partial
from typing import TYPE_CHECKING

from rlmodule_specs.compiled import Check, Sizes, compile_check
from rlmodule_specs.errors import Problem, SpecError
from rlmodule_specs.switching import switch
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Binding, Node, SpecType, canonical, fixed_sizes, leaves

if TYPE_CHECKING:
    from rlmodule_specs.explain import Explanation

__all__ = ["CallChecker", "Checker", "Side", "check"]


class Side:
    """One spec with its compiled check and its walk.

    `known` are the names that come with sizes, each with the place that bound it.
    """

    def __init__(
        self,
        spec: Node,
        exact: bool,
        values: bool,
        fixed: dict[str, Binding],
        label: tuple[str, str, str] = ("", "the data", "the spec"),
        known: dict[str, str] | None = None,
    ) -> None:
        self.spec, self.exact, self.values = spec, exact, values
        self.label = label
        self.known = known or {}
        self.fixed = {name: Binding(given.size, f"set by {given.origin}") for name, given in fixed.items()}
        constants = {name: given.size for name, given in fixed.items()}
        self.check, self.names = compile_check(
            spec, self.slow, exact=exact, fixed=constants, known=tuple(self.known)
        )
        if values and spec is not None:
            self.check = self.every_value
        self.origins = {**_origins(spec, self.names), **self.known}

    def walk(self, data: object, sizes: Sizes) -> "Explanation":
        """Collect the problems, with the names bound to the sizes that came with the call."""
        from rlmodule_specs.explain import Explanation  # right data needs none of it

        bound = {
            name: Binding(size, f"bound by {origin}")
            for (name, origin), size in zip(self.known.items(), sizes, strict=False)  # none while off
            if size is not None
        }
        walk = Explanation(self.exact, self.values, {**self.fixed, **bound})
        walk.visit(self.spec, data, "")
        return walk

    def slow(self, data: object, sizes: Sizes, where: str) -> Sizes:
        """What the compiled check does not accept at once: refuse it, or accept it after all."""
        walk = self.walk(data, sizes)
        if walk.problems:
            place, subject, rule = self.label
            raise SpecError(tuple(walk.problems), where or place, subject, rule)
        return tuple(walk.bound[name].size if name in walk.bound else None for name in self.names)

    def every_value(self, data: object, sizes: Sizes = (), where: str = "") -> Sizes:
        """The check that reads values: there is nothing to compile."""
        return self.slow(data, sizes, where) if switch.on else sizes


def _origins(spec: Node, names: tuple[str, ...]) -> dict[str, str]:
    """Where each name stands first."""
    first: dict[str, str] = {}
    for path, leaf in leaves(spec):
        for name in leaf.names if isinstance(leaf, TensorSpec) else ():
            first.setdefault(name, path)
    return {name: first[name] for name in names if name in first}


class Checker:
    """The check of one spec.

    `exact` refuses keys that the spec does not have; `values` compares limits and class numbers as well.

    >>> Checker(["obs"]).check({"obs": 1, "more": 2})
    ()
    """

    __slots__ = ("_side", "check", "exact", "spec", "values")

    check: Check  # check(data, where="") raises SpecError with all problems; returns the sizes of the names

    def __init__(self, spec: SpecType, *, exact: bool = False, values: bool = False) -> None:
        self.spec = canonical(spec)
        self.exact = exact
        self.values = values
        self._side = Side(self.spec, exact, values, fixed_sizes(self.spec))
        self.check = self._side.check

    def problems(self, data: object) -> tuple[Problem, ...]:
        """Every place where the data breaks the spec, without raising, also while checks are off."""
        return tuple(self._side.walk(data, ()).problems)

    def sizes(self, data: object) -> dict[str, int]:
        """The size that each name has in the data, which must be right; also while checks are off.

        A size that a graph does not know yet is left out.
        """
        walk = self._side.walk(data, ())
        if walk.problems:
            raise SpecError(tuple(walk.problems))
        return {name: binding.size for name, binding in walk.bound.items()}

    def __reduce__(self) -> tuple[object, ...]:
        return partial(Checker, exact=self.exact, values=self.values), (self.spec,)

    def __repr__(self) -> str:
        return f"Checker({self.spec!r}, exact={self.exact}, values={self.values})"


class CallChecker:
    """The checks of one function's input and output: a name has one size in both.

    >>> call = CallChecker(["obs"], None)
    >>> call.output("anything", call.input({"obs": 1}))
    ()

    `input(data)` and `output(result, sizes)`, with the sizes that `input` returned, raise SpecError.
    """

    __slots__ = ("_again", "input", "output")

    input: Check
    output: Check

    def __init__(
        self,
        inputs: SpecType,
        outputs: SpecType,
        *,
        exact_input: bool = False,
        exact_output: bool = False,
        where: str = "",
        subject: str = "the batch",
        result: str = "the result",
        input_rule: str = "the input spec",
        output_rule: str = "the output spec",
    ) -> None:
        asked, promised = canonical(inputs), canonical(outputs)
        self._again = partial(
            CallChecker,
            asked,
            promised,
            exact_input=exact_input,
            exact_output=exact_output,
            where=where,
            subject=subject,
            result=result,
            input_rule=input_rule,
            output_rule=output_rule,
        )
        fixed = _fixed_in_both(asked, promised, subject, result)
        first = Side(asked, exact_input, False, fixed, label=(where, subject, input_rule))
        known = {name: f"{path or '(root)'} of {subject}" for name, path in first.origins.items()}
        second = Side(promised, exact_output, False, fixed, label=(where, result, output_rule), known=known)
        self.input, self.output = first.check, second.check

    def __reduce__(self) -> tuple[object, ...]:
        return self._again, ()


def _fixed_in_both(inputs: Node, outputs: Node, subject: str, result: str) -> dict[str, Binding]:
    """The sizes given by keyword in either spec: one call is one check."""
    fixed: dict[str, Binding] = {}
    for spec, side in ((inputs, subject), (outputs, result)):
        for name, given in fixed_sizes(spec).items():
            place = f"{given.origin or '(root)'} of {side}"
            first = fixed.setdefault(name, Binding(given.size, place))
            if first.size != given.size:
                raise ValueError(
                    f"{name!r} is given as {first.size} by {first.origin} and as {given.size} by {place}: "
                    "a name has one size in the input and the output of a call, use two names"
                )
    return fixed


def check(
    data: object, spec: SpecType, *, exact: bool = False, where: str = "", values: bool = False
) -> None:
    """Raise SpecError with all problems where the data breaks the spec.

    >>> check({"obs": 3}, {"obs": str})
    Traceback (most recent call last):
      ...
    rlmodule_specs.errors.SpecError: the data breaks the spec in 1 place
      obs:  expected str, got int

    The compiled checks of the latest specs are kept; a `Checker` spares the look-up too.
    """
    if switch.on:
        node = canonical(spec)
        _kept(node, tuple(leaves(node)), exact, values).check(data, (), where)


@lru_cache(maxsize=256)
def _kept(node: Node, order: tuple[object, ...], exact: bool, values: bool) -> Checker:
    """The checker of a spec. Equal specs in another order have their own: problems come in spec order."""
    return Checker(node, exact=exact, values=values)
