"""A second checker, slow and literal, must agree on every random pair of a spec and data.

The oracle knows nothing of the package's parsing or walking: a spec is drawn as an abstract tree, written
down in one of the ways that SpecType has, and the data is made from the tree and then damaged at random.
"""

import os
from collections import OrderedDict, UserDict
from collections.abc import Callable
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from rlmodule_specs import Checker, SpecError, TensorSpec, check

numpy = pytest.importorskip("numpy")
try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]  # NumPy alone will do

FRAMEWORKS = ("numpy", "torch") if torch is not None else ("numpy",)
DTYPES = ("float32", "int64", "bool")
KEYS = ("a", "b", "obs", "mask", "hand")
CLASSES = {int: 3, str: "x", float: 1.5, type(None): None, list: [1]}


class Leaf(NamedTuple):
    """A tensor: axes are names, sizes, "_" or "..."; `sizes` are given by keyword."""

    axes: tuple[str | int, ...]
    sizes: dict[str, int]
    dtype: str | None
    framework: str | None


class Kinds(NamedTuple):
    classes: tuple[type, ...]


class Array(NamedTuple):
    """A tensor of the data, before it is made."""

    framework: str
    dtype: str
    shape: tuple[int, ...]


Tree = Any  # None, Kinds, Leaf or dict[str, Tree]


# --- drawing a spec -----------------------------------------------------------------------------


def draw_tree(random: Random, depth: int, sizes: dict[str, int]) -> Tree:
    if depth and random.random() < 0.6:
        keys = random.sample(KEYS, random.randint(0, 3))
        return {key: draw_tree(random, depth - 1, sizes) for key in keys}
    choice = random.random()
    if choice < 0.1:
        return None
    if choice < 0.2:
        return Kinds(tuple(random.sample(list(CLASSES), random.randint(1, 2))))
    axes: list[str | int] = [
        random.choice(("n", "m", "k", "_", random.randint(1, 3))) for _ in range(random.randint(0, 3))
    ]
    if random.random() < 0.3:
        axes.insert(random.randint(0, len(axes)), "...")
    given = {name: sizes[name] for name in "nmk" if name in axes and random.random() < 0.2}
    dtype = random.choice((None, *DTYPES))
    framework = random.choice((None, None, *FRAMEWORKS))
    return Leaf(tuple(axes), given, dtype, framework)


def written(tree: Tree, random: Random) -> Any:
    """The tree as one of the SpecTypes that mean it."""
    if isinstance(tree, Leaf):
        comma = random.choice((",", ", ", " , "))
        options = {"dtype": tree.dtype, "framework": tree.framework}
        return TensorSpec(comma.join(map(str, tree.axes)), **options, **tree.sizes)  # type: ignore[arg-type]
    if isinstance(tree, Kinds):
        return tree.classes[0] if len(tree.classes) == 1 and random.random() < 0.5 else tree.classes
    if tree is None:
        return None
    if tree and all(child is None for child in tree.values()) and random.random() < 0.5:
        return list(tree)
    spec: dict[Any, Any] = {}
    for key, child in tree.items():
        if isinstance(child, dict) and child and random.random() < 0.4:
            for inner, below in child.items():
                spec[(key, inner)] = written(below, random)
        else:
            spec[key if random.random() < 0.7 else (key,)] = written(child, random)
    return spec


# --- drawing data -------------------------------------------------------------------------------


def draw_data(tree: Tree, random: Random, sizes: dict[str, int], framework: str) -> Any:
    """Data that satisfies the tree: dicts, Arrays and plain values."""
    if tree is None:
        return random.choice((1, {"any": 2}, Array(framework, "float32", (2,))))
    if isinstance(tree, Kinds):
        return CLASSES[random.choice(tree.classes)]
    if isinstance(tree, dict):
        return {key: draw_data(child, random, sizes, framework) for key, child in tree.items()}
    shape: list[int] = []
    for axis in tree.axes:
        if axis == "...":
            shape += [random.randint(0, 3) for _ in range(random.randint(0, 2))]
        elif axis == "_":
            shape.append(random.randint(0, 3))
        else:
            shape.append(sizes[axis] if isinstance(axis, str) else axis)
    return Array(tree.framework or framework, tree.dtype or random.choice(DTYPES), tuple(shape))


def places(data: Any) -> list[tuple[dict[str, Any], str]]:
    if not isinstance(data, dict):
        return []
    return [(data, key) for key in data] + [place for child in data.values() for place in places(child)]


def damage(data: dict[str, Any], random: Random) -> None:
    """One change somewhere; it may or may not break the spec."""
    where = places(data)
    if not where or random.random() < 0.1:
        data[random.choice((*KEYS, "extra"))] = random.choice((1, {}, Array("numpy", "float32", (2,))))
        return
    parent, key = random.choice(where)
    value = parent[key]
    if isinstance(value, Array) and random.random() < 0.8:
        size = list(value.shape)
        change = random.randint(0, 4)
        if change == 0 and size:
            size[random.randrange(len(size))] = random.randint(0, 4)
        elif change == 1:
            size.insert(random.randint(0, len(size)), random.randint(0, 3))
        elif change == 2 and size:
            size.pop(random.randrange(len(size)))
        elif change == 3:
            value = value._replace(dtype=random.choice(DTYPES))
        else:
            value = value._replace(framework=random.choice(FRAMEWORKS))
        parent[key] = value._replace(shape=tuple(size))
    elif random.random() < 0.4:
        del parent[key]
    elif random.random() < 0.3:
        parent[key + "s"] = parent.pop(key)
    else:
        parent[key] = random.choice((1, "x", None, {}, {"a": 1}, [1, 2], Array("numpy", "float32", (2, 2))))


made: dict[Array, object] = {}


def tensor(array: Array) -> object:
    if array not in made:
        module: Any = numpy if array.framework == "numpy" else torch
        made[array] = module.zeros(array.shape, dtype=getattr(module, array.dtype))
    return made[array]


WRAPPERS: tuple[Callable[[dict[str, Any]], Any], ...] = (dict, dict, OrderedDict, UserDict, MappingProxyType)


def build(data: Any, random: Random) -> Any:
    """The data itself: tensors made, keys in any order, each mapping of some kind."""
    if isinstance(data, Array):
        return tensor(data)
    if not isinstance(data, dict):
        return data
    keys = random.sample(list(data), len(data))
    return random.choice(WRAPPERS)({key: build(data[key], random) for key in keys})


# --- the oracle ---------------------------------------------------------------------------------


def bad_paths(tree: Tree, data: Any, exact: bool, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every place that is wrong for a reason of its own: names are judged apart."""
    if tree is None:
        return set()
    if isinstance(tree, dict):
        if not isinstance(data, dict):
            return {path}
        bad = {(*path, key) for key in tree if key not in data}
        if exact:
            bad |= {(*path, key) for key in data if key not in tree}
        for key in tree:
            if key in data:
                bad |= bad_paths(tree[key], data[key], exact, (*path, key))
        return bad
    if isinstance(tree, Kinds):
        return set() if not isinstance(data, (dict, Array)) and isinstance(data, tree.classes) else {path}
    fits = (
        isinstance(data, Array)
        and tree.dtype in (None, data.dtype)
        and tree.framework in (None, data.framework)
        and any(literal_fits(pairs, tree) for pairs in alignments(tree, data))
    )
    return set() if fits else {path}


def alignments(leaf: Leaf, array: Array) -> list[list[tuple[str | int, int]]]:
    """The axes beside their sizes, for every number of axes that the dots may stand for."""
    found = []
    for dots in range(len(array.shape) + 1):
        axes: list[str | int] = []
        for axis in leaf.axes:
            axes += ["_"] * dots if axis == "..." else [axis]
        if len(axes) == len(array.shape):
            found.append(list(zip(axes, array.shape, strict=True)))
    return found[:1]


def literal_fits(pairs: list[tuple[str | int, int]], leaf: Leaf) -> bool:
    return all(
        size == (axis if isinstance(axis, int) else leaf.sizes.get(axis, size)) for axis, size in pairs
    )


def claims(tree: Tree, data: Any) -> list[tuple[str, int]]:
    """Every (name, size) that the spec or a leaf of the right rank says."""
    if isinstance(tree, dict):
        below = data if isinstance(data, dict) else {}
        return [claim for key in tree for claim in claims(tree[key], below.get(key))]
    if not isinstance(tree, Leaf):
        return []
    pairs = alignments(tree, data)[0] if isinstance(data, Array) and alignments(tree, data) else []
    said = [(axis, size) for axis, size in pairs if isinstance(axis, str) and axis != "_"]
    return list(tree.sizes.items()) + said


def oracle_accepts(tree: Tree, data: Any, exact: bool) -> bool:
    sizes: dict[str, set[int]] = {}
    for name, size in claims(tree, data):
        sizes.setdefault(name, set()).add(size)
    return not bad_paths(tree, data, exact) and all(len(found) == 1 for found in sizes.values())


# --- the comparison -----------------------------------------------------------------------------


def outcome(ask: Callable[[Any], object], data: Any) -> SpecError | None:
    try:
        ask(data)
    except SpecError as error:
        return error
    return None


def compare_one_pair(seed: int) -> bool:
    """Whether the pair of this seed is accepted; fails where the package and the oracle differ."""
    random = Random(seed)
    sizes = {name: random.randint(1, 3) for name in "nmk"}
    tree = draw_tree(random, depth=3, sizes=sizes)
    tree = tree if isinstance(tree, dict) else {"x": tree}
    plain = draw_data(tree, random, sizes, random.choice(FRAMEWORKS))
    for _ in range(random.choice((0, 1, 1, 2))):
        damage(plain, random)
    exact = random.random() < 0.3
    spec, data = written(tree, random), build(plain, random)
    before = repr(data)

    expected = oracle_accepts(tree, plain, exact)

    checker = Checker(spec, exact=exact)
    for ask in (checker.check, checker.check, lambda data: check(data, spec, exact=exact)):
        error = outcome(ask, data)
        assert (error is None) == expected, f"seed {seed}: {spec} and {data} gave {error}"
        told = [] if error is None else [problem.path for problem in error.problems]
        own = {".".join(path) for path in bad_paths(tree, plain, exact)}
        assert own <= set(told), f"seed {seed}: {own - set(told)} are wrong but not told"
        assert len(set(told)) == len(told), f"seed {seed}: a place is told twice"
    assert repr(data) == before, f"seed {seed}: the data was changed"
    return expected


def compare(seeds: range) -> None:
    accepted = sum(compare_one_pair(seed) for seed in seeds)
    assert 0.2 < accepted / len(seeds) < 0.8  # both verdicts are well represented


def test_the_checker_agrees_with_the_oracle_on_2000_pairs() -> None:
    compare(range(2000))


@pytest.mark.long
def test_the_checker_agrees_with_the_oracle_on_100000_pairs(request: pytest.FixtureRequest) -> None:
    if "long" not in request.config.getoption("markexpr"):
        pytest.skip("takes minutes: run with -m long")
    start = int(os.environ.get("SPECS_ORACLE_START", "2000"))
    compare(range(start, start + 100_000))


def test_data_that_is_made_from_a_spec_is_accepted_and_a_needed_change_is_refused() -> None:
    for seed in range(300):
        random = Random(seed)
        sizes = {name: random.randint(1, 3) for name in "nmk"}
        tree = {"x": draw_tree(random, 2, sizes), "y": Leaf(("n", 2), {}, "float32", None)}
        plain = draw_data(tree, random, sizes, "numpy")
        checker = Checker(written(tree, random), exact=True)
        checker.check(build(plain, random))
        array = plain["y"]
        for broken in (
            array._replace(shape=(*array.shape, 1)),
            array._replace(shape=array.shape[:1]),
            array._replace(shape=(array.shape[0], 3)),
            array._replace(dtype="int64"),
            {"z": array},
            1,
        ):
            data = build({**plain, "y": broken}, random)
            assert [problem.path for problem in checker.problems(data)] == ["y"]
        assert [problem.path for problem in checker.problems({"x": data["x"]})] == ["y"]
