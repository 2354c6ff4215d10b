"""The check that can say why: a walk over the spec that collects every problem.

The compiled check only ever says yes; what it does not accept at once is decided here, so that this walk
is the one place that refuses. It survives whatever the data's own code does.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from rlmodule_specs.describe import class_name, describe, expectation, limits_text, missing, tensor, trouble
from rlmodule_specs.errors import Problem
from rlmodule_specs.frameworks import framework_of, learn, read_tensor
from rlmodule_specs.shape import ANY, DOTS, Axis
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Binding, Node, SpecDict
from rlmodule_specs.wording import join

__all__ = ["Explanation", "Parts", "field_names", "open_container"]

READ = 1000  # keys of one mapping that a message looks at


class Parts(NamedTuple):
    """What a value has under keys."""

    keys: Collection[object]  # a key is looked for here before it is got: a defaultdict would grow
    get: Callable[[Any], object]


def open_container(value: object, spec: SpecDict) -> Parts | None:
    """The parts that the spec speaks of; None where the value has none.

    Elements are asked for by whole numbers, fields by name: a named tuple has both.
    """
    if isinstance(value, Mapping):
        return Parts(value, value.__getitem__)
    by_number = bool(spec) and all(isinstance(key, int) for key in spec)
    if isinstance(value, (tuple, list)) and by_number:
        return Parts(range(len(value)), value.__getitem__)
    names = field_names(value)
    return None if names is None else Parts(names, partial(getattr, value))


def field_names(value: object) -> tuple[str, ...] | None:
    """The fields of a dataclass instance or a named tuple, None for anything else."""
    cls = type(value)
    fields = getattr(cls, "__dataclass_fields__", None)
    if isinstance(fields, dict):
        return tuple(name for name in fields if hasattr(value, name))
    names = getattr(cls, "_fields", None)
    return names if isinstance(value, tuple) and isinstance(names, tuple) else None


class Explanation:
    """The problems of one walk, in the order of the spec, and the names it bound."""

    def __init__(self, exact: bool, values: bool, bound: Mapping[str, Binding]) -> None:
        self.exact = exact
        self.values = values
        self.bound = dict(bound)
        self.problems: list[Problem] = []

    def refuse(self, path: str, expected: str, found: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(path, expected, found))

    def visit(self, node: Node, value: object, path: str) -> None:
        """Compare one value with its node; an exception of the data's own code is a problem too."""
        if node is None:
            return
        try:
            if isinstance(node, SpecDict):
                self.container(node, value, path)
            elif isinstance(node, TensorSpec):
                self.tensor(node, value, path)
            elif not isinstance(value, node):
                self.refuse(path, expectation(node), describe(value))
        except Exception as error:
            self.refuse(path, expectation(node, self.exact), f"{class_name(type(value))}, {trouble(error)}")

    def container(self, spec: SpecDict, value: object, path: str) -> None:
        """Compare the parts of a value with the keys of the spec."""
        parts = open_container(value, spec)
        if parts is None:
            self.refuse(path, expectation(spec, self.exact), describe(value))
            return
        present = 0
        for key, node in spec.items():
            if key in parts.keys:
                present += 1
                self.visit(node, parts.get(key), join(path, key))
            else:
                there = tuple(islice(parts.keys, READ))
                self.refuse(join(path, key), expectation(node, self.exact), missing(key, there))
        if self.exact and len(parts.keys) != present:
            self.unexpected(spec, parts, path)

    def unexpected(self, spec: SpecDict, parts: Parts, path: str) -> None:
        """Refuse the keys that an exact spec does not have."""
        extra = [key for key in islice(parts.keys, READ) if key not in spec]
        for key in extra:
            self.refuse(join(path, key), "no such key", describe(parts.get(key)))
        if not extra:  # they stand behind the keys that a message looks at
            self.refuse(path, f"no other keys than its {len(spec)}", f"{len(parts.keys)} keys")

    def tensor(self, spec: TensorSpec, value: object, path: str) -> None:
        """Compare a tensor; names bind wherever the rank is right, so that one mistake is told once."""
        facts = read_tensor(value)
        if facts is None:
            self.refuse(path, expectation(spec), describe(value))
            return
        framework, dtype = spec.framework, spec.dtype
        good = framework in (None, facts.framework) and dtype in (None, facts.dtype)
        conflicts: dict[str, str] = {}
        if facts.shape is not None:
            good = self.axes(spec, facts.shape, path, conflicts) and good
        if not good:
            names = f" with {', '.join(conflicts.values())}" if conflicts else ""
            found = tensor(facts, framework=framework is not None, dtype=dtype is not None)
            self.refuse(path, expectation(spec) + names, found)
            return
        learn(value)
        wrong = values_problem(spec, value) if self.values else None
        if wrong is not None:
            self.refuse(path, expectation(spec) + limits_text(spec), wrong)

    def axes(
        self, spec: TensorSpec, shape: tuple[int | None, ...], path: str, conflicts: dict[str, str]
    ) -> bool:
        """Whether the sizes fit. Binds new names and notes the names that were bound to another size."""
        pairs = _aligned(spec.axes, shape)
        good = pairs is not None
        for axis, size in pairs or ():
            if size is None or axis == ANY:
                continue
            if isinstance(axis, int) or axis in spec.sizes:
                good = size == (axis if isinstance(axis, int) else spec.sizes[axis]) and good
                continue
            bound = self.bound.setdefault(axis, Binding(size, f"bound by {path or '(root)'}"))
            if size != bound.size:
                conflicts[axis] = f"{axis}={bound.size} ({bound.origin})"
                good = False
        return good


def _aligned(axes: tuple[Axis, ...], shape: tuple[int | None, ...]) -> list[tuple[Axis, int | None]] | None:
    """Each axis of the spec with its size; None where the rank does not fit."""
    if DOTS not in axes:
        return list(zip(axes, shape, strict=True)) if len(axes) == len(shape) else None
    before = axes.index(DOTS)
    after = len(axes) - before - 1
    if len(shape) < before + after:
        return None
    tail = zip(axes[before + 1 :], shape[len(shape) - after :], strict=True)
    return [*zip(axes[:before], shape[:before], strict=True), *tail]


def values_problem(spec: TensorSpec, value: object) -> str | None:
    """What is wrong with the values of a tensor, None where nothing is.

    Values that do not exist yet, in a graph that is being traced, are not refused.
    """
    allowed = spec.limits
    numbers: Any = None if allowed is None else _readable(value)
    if allowed is None or numbers is None:
        return None
    low, high = numbers.min().item(), numbers.max().item()
    if isinstance(low, complex):
        return "complex values, which have no order"
    if isinstance(low, int):  # compared exactly; what is not whole, in the precision of the tensor
        fits = allowed[0] <= low and high <= allowed[1]
    else:
        fits = bool(((numbers >= allowed[0]) & (numbers <= allowed[1])).all())
    if fits:
        return None
    return "values with NaN among them" if low != low else f"values from {low} to {high}"


def _readable(value: object) -> object | None:
    """What has the methods of an array; None for no values and for values that a graph does not know yet."""
    if framework_of(value) == "tf":
        value = value.numpy() if hasattr(value, "numpy") else None
    return None if value is None or 0 in getattr(value, "shape") else value  # noqa: B009 - `object` has none
