"""Nested specs: every way to write one (`SpecType`) and the one form that all become (`SpecDict`).

    None                                   anything
    SomeClass, (ClassA, ClassB)            an instance
    TensorSpec("b, h")                     a tensor
    ["obs", ("next", "obs")]               these keys, with anything under them; a tuple is a nested path
    {"obs": ..., ("next", "obs"): ...}     these keys, with a SpecType under each

A key is a str, or a whole number: an element of a tuple or a list.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from types import UnionType
from typing import NamedTuple, Protocol, TypeAlias

from rlmodule_specs.tensor_spec import Spec, TensorSpec
from rlmodule_specs.wording import join, safe_repr

__all__ = [
    "DEEPEST",
    "Binding",
    "Key",
    "Node",
    "SpecDict",
    "SpecType",
    "canonical",
    "fixed_sizes",
    "leaves",
    "written",
]


Key: TypeAlias = str | int
Path: TypeAlias = Key | tuple[Key, ...]
Built: TypeAlias = "tuple[type, ...] | TensorSpec | dict[Key, Built] | None"

DEEPEST = 150  # levels; far below Python's recursion limit


class Keyed(Protocol):
    """A mapping from some kinds of keys: a `dict[str, ...]` is no `Mapping[Path, ...]`, but it is this."""

    def items(self) -> Iterable[tuple[Path, "SpecType"]]:
        """The keys with what stands under them."""


SpecType: TypeAlias = (
    type
    | tuple[type, ...]
    | UnionType
    | TensorSpec
    | Sequence[Path]
    | Mapping[Path, "SpecType"]
    | Keyed
    | None
)
Node: TypeAlias = "tuple[type, ...] | TensorSpec | SpecDict | None"


class SpecDict(Spec, Mapping[Key, Node]):
    """The canonical form of a spec with keys: nested, immutable, hashable, one node a key.

    >>> SpecDict({"foo": ["bar"]}) == SpecDict([("foo", "bar")])
    True
    >>> SpecDict(["a", ("a", "b")])
    SpecDict({'a': {'b': None}})
    """

    __slots__ = ("_children", "_hash")

    _children: dict[Key, Node]
    _hash: int

    def __init__(self, spec: SpecType = ()) -> None:
        built = {} if spec == () else build(spec)
        if not isinstance(built, dict):
            raise ValueError(f"SpecDict needs a list or a mapping of keys, got {safe_repr(spec)}")
        self._fill(built)
        fixed_sizes(self)

    def _fill(self, built: dict[Key, Built]) -> None:
        children = {key: _frozen(value) for key, value in built.items()}
        object.__setattr__(self, "_children", children)
        object.__setattr__(self, "_hash", hash(frozenset(children.items())))

    def __getitem__(self, key: Key) -> Node:
        return self._children[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._children)

    def __len__(self) -> int:
        return len(self._children)

    def __eq__(self, other: object) -> bool:
        return self._children == other._children if isinstance(other, SpecDict) else NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        return SpecDict, (dict(self._children),)

    def __repr__(self) -> str:
        return f"SpecDict({written(self)})"


def _frozen(value: Built) -> Node:
    if not isinstance(value, dict):
        return value
    spec = SpecDict.__new__(SpecDict)
    spec._fill(value)
    return spec


def written(node: Node) -> str:
    """A node as a user would write it."""
    if isinstance(node, SpecDict):
        return "{" + ", ".join(f"{key!r}: {written(child)}" for key, child in node.items()) + "}"
    if isinstance(node, tuple):
        names = ", ".join(cls.__qualname__ for cls in node)
        return names if len(node) == 1 else f"({names})"
    return repr(node)


def canonical(spec: SpecType) -> Node:
    """The one form of a spec: None, a tuple of classes, a TensorSpec or a SpecDict.

    A spec that cannot be satisfied, or that is none, is a ValueError here and not at a check.
    """
    if isinstance(spec, SpecDict):
        return spec
    node = _frozen(build(spec))
    fixed_sizes(node)
    return node


def leaves(node: Node, path: str = "") -> Iterator[tuple[str, "tuple[type, ...] | TensorSpec | None"]]:
    """Every (path, leaf) of a spec, in its order."""
    if not isinstance(node, SpecDict):
        yield path, node
        return
    for key, child in node.items():
        yield from leaves(child, join(path, key))


class Binding(NamedTuple):
    """The size of a name, and who said so first."""

    size: int
    origin: str  # a path, or a place in words: "bound by obs.arm"


def fixed_sizes(node: Node) -> dict[str, Binding]:
    """The names whose size is given by keyword: each holds for the whole check.

    >>> fixed_sizes(SpecDict({"x": TensorSpec("b, h", h=10), "y": TensorSpec("h, a")}))
    {'h': Binding(size=10, origin='x')}
    """
    given: dict[str, Binding] = {}
    for path, leaf in leaves(node):
        sizes = leaf.sizes if isinstance(leaf, TensorSpec) else {}
        for name, size in sizes.items():
            first = given.setdefault(name, Binding(size, path))
            if first.size != size:
                raise ValueError(
                    f"{name!r} is given as {first.size} by {first.origin} and as {size} by {path}: "
                    "a name has one size in the whole check, use two names"
                )
    return given


# --- from any way to write a spec to nested dicts: paths unfolded, what is said twice merged


def build(spec: object, trail: tuple[Key, ...] = (), inside: tuple[int, ...] = ()) -> Built:
    """Unfold a SpecType that stands at `trail`; `inside` are the ids of the containers around it.

    >>> build(["a", ("a", "b")])
    {'a': {'b': None}}
    """
    if spec is None or isinstance(spec, TensorSpec):
        return spec
    if isinstance(spec, (type, tuple, UnionType)):
        return _classes(spec, trail)
    if not isinstance(spec, (Mapping, Sequence)) or isinstance(spec, (str, bytes)):
        raise ValueError(f"{_at(trail)}{safe_repr(spec)} is no spec: {_advice(spec)}")
    if id(spec) in inside:
        raise ValueError(f"{_at(trail)}the spec contains itself")
    around = (*inside, id(spec))
    node: dict[Key, Built] = {}
    for path in spec:
        keys = _keys(path, trail)
        value = build(spec[path], trail + keys, around) if isinstance(spec, Mapping) else None
        for key in reversed(keys[1:]):
            value = {key: value}
        _merge(node, keys[0], value, trail)
    return node


def _advice(spec: object) -> str:
    if isinstance(spec, str):
        return f"write [{spec!r}] to require that key"
    return "write None, a class, a tuple of classes, a TensorSpec, a list of keys or a mapping"


def _at(trail: tuple[Key, ...]) -> str:
    return f"{reduce(join, trail, '')}: " if trail else ""


def _keys(path: object, trail: tuple[Key, ...]) -> tuple[Key, ...]:
    keys = path if isinstance(path, tuple) else (path,)
    if not keys:
        raise ValueError(f"{_at(trail)}() is no path: write at least one key")
    if len(trail) + len(keys) > DEEPEST:
        raise ValueError(f"{_at(trail)[:60]}... the spec is nested deeper than {DEEPEST} levels")
    for key in keys:
        if not isinstance(key, (str, int)) or isinstance(key, bool) or (isinstance(key, int) and key < 0):
            kinds = "a key is a str, a whole number from 0 or a tuple of them"
            raise ValueError(f"{_at(trail)}{safe_repr(key)} is no key: {kinds}")
    return tuple(str.__str__(key) if isinstance(key, str) else int(key) for key in keys)  # an enum's value


def _classes(spec: object, trail: tuple[Key, ...]) -> tuple[type, ...]:
    given = spec if isinstance(spec, tuple) else spec.__args__ if isinstance(spec, UnionType) else (spec,)
    if not given:
        raise ValueError(f"{_at(trail)}() is no spec: write a tuple of classes, or None for anything")
    for cls in given:
        if not _is_checkable(cls):
            keys = all(isinstance(item, str) for item in given)
            hint = (
                f"for keys write {list(given)!r}"
                if keys
                else "a tuple is for classes that isinstance() accepts"
            )
            raise ValueError(f"{_at(trail)}{safe_repr(cls)} is no class: {hint}")
    return tuple(dict.fromkeys(given))


def _is_checkable(cls: object) -> bool:
    try:
        isinstance(None, cls)  # type: ignore[arg-type]  # whether it is a class is the question
    except Exception:  # a generic alias, a protocol without @runtime_checkable, no class at all
        return False
    return isinstance(cls, type)


def _merge(node: dict[Key, Built], key: Key, value: Built, trail: tuple[Key, ...]) -> None:
    known = node.get(key)
    if known is None:
        node[key] = value
    elif isinstance(known, dict) and isinstance(value, dict):
        for inner, below in value.items():
            _merge(known, inner, below, (*trail, key))
    elif value is not None and value != known:
        raise ValueError(f"{_at((*trail, key))}given twice, as {safe_repr(known)} and as {safe_repr(value)}")
