"""Nested specs: every way to write one (`SpecType`) and the one form that all become (`SpecDict`).

    None                                   anything
    SomeClass, (ClassA, ClassB)            an instance
    TensorSpec("b, h")                     a tensor
    ["obs", ("next", "obs")]               these keys, with anything under them; a tuple is a nested path
    {"obs": ..., ("next", "obs"): ...}     these keys, with a SpecType under each

A key is a str, or a whole number: an element of a tuple or a list.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import NamedTuple, NoReturn, Protocol, TypeAlias

from rlmodule_specs.merging import Built, Key, Path, build
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.wording import join, safe_repr

__all__ = ["Given", "Key", "Node", "SpecDict", "SpecType", "canonical", "fixed_sizes", "leaves", "written"]


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


class SpecDict(Mapping[Key, Node]):
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

    @classmethod
    def _of(cls, built: dict[Key, Built]) -> "SpecDict":
        self = cls.__new__(cls)
        self._fill(built)
        return self

    def _fill(self, built: dict[Key, Built]) -> None:
        children = {key: _frozen(value) for key, value in built.items()}
        object.__setattr__(self, "_children", children)
        object.__setattr__(self, "_hash", hash(frozenset(children.items())))

    def fill(self, value: object = 0, /, **sizes: int) -> object:
        """Data that satisfies the spec, every tensor filled with the value."""
        from rlmodule_specs.make import fill  # it builds on this module

        return fill(self, value, **sizes)

    def sample(self, seed: int = 0, /, **sizes: int) -> object:
        """Random data that satisfies the spec."""
        from rlmodule_specs.make import sample

        return sample(self, seed, **sizes)

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

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"SpecDict is immutable: make a new one instead of setting {name!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return SpecDict, (dict(self._children),)

    def __repr__(self) -> str:
        return f"SpecDict({written(self)})"


def _frozen(value: Built) -> Node:
    return SpecDict._of(value) if isinstance(value, dict) else value


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


class Given(NamedTuple):
    """A size that the spec gives by keyword, and the first path that gives it."""

    size: int
    path: str


def fixed_sizes(node: Node) -> dict[str, Given]:
    """The names whose size is given by keyword: each holds for the whole check.

    >>> fixed_sizes(SpecDict({"x": TensorSpec("b, h", h=10), "y": TensorSpec("h, a")}))
    {'h': Given(size=10, path='x')}
    """
    given: dict[str, Given] = {}
    for path, leaf in leaves(node):
        sizes = leaf.sizes if isinstance(leaf, TensorSpec) else {}
        for name, size in sizes.items():
            first = given.setdefault(name, Given(size, path))
            if first.size != size:
                raise ValueError(
                    f"{name!r} is given as {first.size} by {first.path} and as {size} by {path}: "
                    "a name has one size in the whole check, use two names"
                )
    return given
