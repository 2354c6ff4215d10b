"""A spec as straight-line Python, written and compiled once.

The function says yes to plain data that is right and leaves everything else to `slow`. For
`{"obs": TensorSpec("b, h", h=10, dtype="float32")}` it is:

    def check(data, sizes=(), where=''):
        if not switch.on: return sizes
        try:
            while True:
                d1 = data if type(data) is dict else as_dict(data, K2)
                d2 = d1['obs']
                if T3[type(d2)] is not d2.dtype: break
                n0, s3, = d2.shape
                if s3 != 10: break
                return (n0, )
        except Exception: pass
        return slow(data, sizes, where)

`T3` maps each class that may be trusted to the one dtype object it must carry: one look-up says class,
framework and dtype. Whatever surprises this code, a missing key or a shape that raises, ends in `slow`.
The loop is there to be left. Where only TensorFlow will do, `eager_readers` read the tensor.
"""

from abc import ABCMeta
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from types import CodeType
from typing import Protocol, cast

from rlmodule_specs.frameworks import eager_readers, link, trusted
from rlmodule_specs.shape import ANY, DOTS, Axis
from rlmodule_specs.switching import switch
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict

__all__ = ["Check", "Sizes", "Slow", "compile_check"]

Sizes = tuple[int | None, ...]  # of the names, in the order in which the specs name them first
Slow = Callable[[object, Sizes, str], Sizes]
CONTAINERS = frozenset((dict, list, tuple))  # plain ones: their [] has no surprises


class Check(Protocol):
    """A compiled check: returns the sizes of all names or raises SpecError."""

    def __call__(self, data: object, sizes: Sizes = (), where: str = "") -> Sizes:
        """Compare; `sizes` are those of the names known before, `where` goes into the message."""


class _Writer:
    """Writes the body: one local variable a container, a leaf, a name or a size that is compared."""

    def __init__(self, exact: bool, fixed: Mapping[str, int], known: tuple[str, ...]) -> None:
        self.exact = exact
        self.fixed = fixed  # given by keyword somewhere in the spec: constants
        self.lines: list[str] = []
        self.globals: dict[str, object] = {"switch": switch, "CONTAINERS": CONTAINERS, "as_dict": as_dict}
        self.names = {name: f"n{number}" for number, name in enumerate(known)}
        self.values = count(1)

    def refuse_if(self, condition: str) -> None:
        self.lines.append(f"if {condition}: break")

    def constant(self, prefix: str, value: object) -> str:
        """The global name of a constant, the same for the same object."""
        for name, known in self.globals.items():
            if known is value:
                return name
        name = f"{prefix}{len(self.globals) - 1}"
        self.globals[name] = value
        return name

    def node(self, node: Node, variable: str) -> None:
        if isinstance(node, SpecDict):
            self.container(node, variable)
        elif isinstance(node, TensorSpec):
            self.tensor(node, variable)
        elif node is not None:
            # to ask an abstract class takes ten times as long
            known = {below: 0 for cls in node if type(cls) is ABCMeta for below in _subclasses(cls)}
            listed = f"type({variable}) not in {self.constant('K', known)} and " if known else ""
            classes = node[0] if len(node) == 1 else node
            self.refuse_if(f"{listed}not isinstance({variable}, {self.constant('C', classes)})")

    def container(self, spec: SpecDict, variable: str) -> None:
        if self.exact:
            self.refuse_if(f"len({variable}) != {len(spec)}")
        if spec and all(isinstance(key, int) for key in spec):
            self.refuse_if(f"type({variable}) not in CONTAINERS")
        else:
            plain = f"d{next(self.values)}"
            keys = self.constant("K", tuple(spec))
            self.lines.append(
                f"{plain} = {variable} if type({variable}) is dict else as_dict({variable}, {keys})"
            )
            variable = plain
        for key, node in spec.items():
            part = f"d{next(self.values)}"
            self.lines.append(f"{part} = {variable}[{key!r}]")
            self.node(node, part)

    def tensor(self, spec: TensorSpec, variable: str) -> None:
        shape = f"{variable}.shape"
        readers = eager_readers(spec.dtype) if spec.framework == "tf" else ()
        if readers:
            shape, dtype = (f"{self.constant('R', reader)}({variable})" for reader in readers[:2])
            if spec.dtype:
                self.refuse_if(f"{dtype} != {readers[2]}")
        else:
            table = self.constant("T", trusted(spec.framework, spec.dtype))
            condition = f"{table}[type({variable})] is not {variable}.dtype"
            self.refuse_if(condition if spec.dtype else f"type({variable}) not in {table}")
        if DOTS in spec.axes:
            self.open_shape(spec.axes, shape)
        elif not spec.axes:
            self.refuse_if(f"len({shape})")
        else:
            self.closed_shape(spec.axes, shape)

    def closed_shape(self, axes: tuple[Axis, ...], shape: str) -> None:
        """One comparison where all sizes are known; else `n0, s3 = d1.shape`, which compares the rank too."""
        known = [self.known(axis) for axis in axes]
        if None not in known:  # not written with !=, for which torch.compile would add an operation
            self.refuse_if(f"not {shape} == ({', '.join(map(str, known))}, )")
            return
        targets, comparisons = zip(*map(self.axis, axes), strict=True)
        self.lines.append(f"{', '.join(targets)}, = {shape}")
        for condition in filter(None, comparisons):
            self.refuse_if(condition)

    def open_shape(self, axes: tuple[Axis, ...], value: str) -> None:
        """The axes before the dots from the left, those behind from the right."""
        shape = f"d{next(self.values)}"
        self.lines.append(f"{shape} = {value}")
        self.refuse_if(f"len({shape}) < {len(axes) - 1}")
        dots = axes.index(DOTS)
        for number, axis in enumerate(axes):
            if axis in (ANY, DOTS):
                continue
            target, condition = self.axis(axis)
            self.lines.append(f"{target} = {shape}[{number if number < dots else number - len(axes)}]")
            if condition:
                self.refuse_if(condition)

    def known(self, axis: Axis) -> str | int | None:
        """The size that an axis must have, a number or a variable; None where it may have any."""
        return axis if isinstance(axis, int) else self.fixed.get(axis) or self.names.get(axis)

    def axis(self, axis: Axis) -> tuple[str, str]:
        """The variable that takes the size of an axis, and the condition that refuses it."""
        if axis == ANY:
            return "_", ""
        wanted = self.known(axis)
        if wanted is None:
            name = self.names[str(axis)] = f"n{len(self.names)}"
            return name, ""
        size = f"s{next(self.values)}"
        return size, f"{size} != {wanted}"


def _subclasses(cls: type) -> set[type]:
    below: set[type] = set(cls.__subclasses__())
    return below.union(*map(_subclasses, below))


def as_dict(value: object, keys: tuple[str | int, ...]) -> dict[object, object]:
    """What a mapping of any other kind has under the keys; it is only asked for keys that it has."""
    if not isinstance(value, Mapping):
        raise TypeError
    return {key: value[key] for key in keys if key in value}


def compile_check(
    node: Node, slow: Slow, *, exact: bool, fixed: Mapping[str, int], known: tuple[str, ...]
) -> tuple[Check, tuple[str, ...]]:
    """The check of a spec, and the names whose sizes it returns: those known before, then its own."""
    if node is None:
        return _accept, known
    link()
    writer = _Writer(exact, fixed, known)
    if known:
        writer.lines.append(f"{', '.join(writer.names.values())}, = sizes")
    writer.node(node, "data")
    body = "".join(f"            {line}\n" for line in writer.lines)
    sizes = "".join(f"{variable}, " for variable in writer.names.values())
    source = (
        "def check(data, sizes=(), where=''):\n"
        "    if not switch.on: return sizes\n"
        "    try:\n"
        "        while True:\n"
        f"{body}"
        f"            return ({sizes})\n"
        "    except Exception: pass\n"
        "    return slow(data, sizes, where)\n"
    )
    return _run(source, {**writer.globals, "slow": slow}), tuple(writer.names)


@lru_cache(maxsize=1024)
def _code(source: str) -> CodeType:
    """Equal specs have equal sources; parsing one takes a hundred times longer than running it."""
    return compile(source, "<rlmodule_specs check>", "exec")


def _run(source: str, variables: dict[str, object]) -> Check:
    exec(_code(source), variables)
    check = cast(Check, variables["check"])
    vars(check)["autograph_info__"] = {}  # AutoGraph's mark of code that it calls as it is
    return check


def _accept(data: object, sizes: Sizes = (), where: str = "") -> Sizes:
    return sizes
