"""Data that satisfies a spec: filled with one value, or random.

A framework is imported here where a spec asks for its tensors, and only then. A spec without a framework
gives NumPy arrays, without a dtype float32.
"""

import math
from collections.abc import Callable, Mapping
from random import Random

from rlmodule_specs.arrays import draw, filled, of_values
from rlmodule_specs.describe import class_name
from rlmodule_specs.shape import ANY, DOTS, parse_sizes
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict, SpecType, canonical, fixed_sizes, leaves
from rlmodule_specs.wording import join, suggestion

__all__ = ["assemble", "fill", "known_sizes", "names_of", "sample", "sizes_of"]

Shape = tuple[int, ...]
LARGEST = 3  # size of a name that is drawn


def fill(spec: SpecType, value: object = 0, /, **sizes: int) -> object:
    """Data whose tensors hold one value. A name without a size is 1, `...` is no axis.

    >>> fill({"steps": TensorSpec("b"), "done": bool}, 0, b=2)["done"]
    False
    """
    node = canonical(spec)
    known = dict.fromkeys(names_of(node), 1) | known_sizes(node, sizes)
    return assemble(node, lambda leaf: filled(leaf, sizes_of(leaf, known, lambda: 1, list), value))


def sample(spec: SpecType, seed: int = 0, /, **sizes: int) -> object:
    """Random data: the same for the same seed, whatever the framework. Limits of values are kept.

    A name without a size is drawn from 1 to 3, `...` is up to two axes.
    """
    node = canonical(spec)
    random = Random(seed)
    known = known_sizes(node, sizes)
    for name in names_of(node):
        known.setdefault(name, random.randint(1, LARGEST))

    def size() -> int:
        return random.randint(1, LARGEST)

    def tensor(leaf: TensorSpec) -> object:
        shape = sizes_of(leaf, known, size, lambda: [size() for _ in range(random.randint(0, 2))])
        return of_values(leaf, shape, [draw(leaf, random) for _ in range(math.prod(shape))])

    return assemble(node, tensor)


def sizes_of(
    spec: TensorSpec, known: Mapping[str, int], free: Callable[[], int], dots: Callable[[], list[int]]
) -> Shape:
    """The sizes of all axes: of names those that are known, `_` is free, dots are any number of axes."""
    shape: list[int] = []
    for axis in spec.axes:
        if axis == DOTS:
            shape += dots()
        elif isinstance(axis, str):
            shape.append(free() if axis == ANY else known[axis])
        else:
            shape.append(axis)
    return tuple(shape)


def names_of(node: Node) -> tuple[str, ...]:
    """All names of a spec, each once, in order."""
    specs = [leaf for _, leaf in leaves(node) if isinstance(leaf, TensorSpec)]
    return tuple(dict.fromkeys(name for spec in specs for name in spec.names))


def known_sizes(node: Node, sizes: dict[str, int]) -> dict[str, int]:
    """The sizes of names: those the spec gives and those asked for, which may be 0."""
    names = names_of(node)
    given = {name: fixed.size for name, fixed in fixed_sizes(node).items()}
    for name, size in sizes.items():
        if name not in names:
            raise ValueError(
                f"a size is given for {name!r}, a name not in the spec: {suggestion(name, names)}"
            )
        if size != 0:
            parse_sizes({name: size}, (name,))
        if given.get(name, size) != size:
            raise ValueError(f"the size of {name!r} is {given[name]} in the spec, not {size}")
    return {**given, **sizes}


def assemble(node: Node, tensor: Callable[[TensorSpec], object], path: str = "") -> object:
    """Data along a spec: dicts, a tuple where the keys are 0, 1, ..., each leaf as `tensor` makes it."""
    if isinstance(node, SpecDict):
        parts = {key: assemble(child, tensor, join(path, key)) for key, child in node.items()}
        if parts and set(parts) == set(range(len(parts))):
            return tuple(parts[key] for key in range(len(parts)))
        return parts
    if isinstance(node, TensorSpec):
        return tensor(node)
    return None if node is None else _instance(node, path)


def _instance(classes: tuple[type, ...], path: str) -> object:
    for cls in classes:
        try:
            made: object = cls()
        except Exception:  # it needs arguments, which a spec does not know
            continue
        return made
    names = " or ".join(map(class_name, classes))
    raise ValueError(f"{path or '(root)'}: no instance of {names} can be made without arguments")
