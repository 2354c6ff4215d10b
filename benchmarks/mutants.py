"""Every way in which `mutation.py` changes one place of a module."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

IGNORED = ("__all__", "__slots__", "TYPE_CHECKING")
BOTH_WAYS = [
    *((ast.Eq, ast.NotEq), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Is, ast.IsNot), (ast.In, ast.NotIn)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv), (ast.BitOr, ast.BitAnd)),
]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    old: new for one, two in BOTH_WAYS for old, new in ((one, two), (two, one))
}
SWAPS[ast.Pow] = ast.Mult


class Mutant(NamedTuple):
    """One change: the lines of the original that it concerns, the source with it, and how it reads."""

    module: str
    lines: range
    source: str
    text: str


class Change(NamedTuple):
    """Put `new` into the field or the list place `key` of `owner`."""

    owner: Any
    key: Any
    new: object


def code(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run, without docstrings, annotations and what only a type checker reads."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if any(isinstance(target, ast.Name) and target.id in IGNORED for target in targets):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
        return
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.FunctionDef) and "overload" in map(ast.unparse, node.decorator_list):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns", "format_spec"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from code(child)


def changes(node: ast.AST) -> Iterator[Change]:
    """Every way to change this node."""
    if type(getattr(node, "op", None)) in SWAPS:
        yield Change(node, "op", SWAPS[type(node.op)]())  # type: ignore[attr-defined]
    for place, operator in enumerate(getattr(node, "ops", [])):
        yield Change(node.ops, place, SWAPS[type(operator)]())  # type: ignore[attr-defined]
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield Change(node, "test", ast.UnaryOp(ast.Not(), node.test))
    for place, test in enumerate(getattr(node, "ifs", [])):
        yield Change(node.ifs, place, ast.UnaryOp(ast.Not(), test))  # type: ignore[attr-defined]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Change(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield Change(node, "op", ast.UAdd())
    if isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield Change(node, "value", ast.Constant(None))
    if isinstance(node, ast.Constant):
        if isinstance(node.value, (bool, int, float)):
            yield Change(node, "value", not node.value if isinstance(node.value, bool) else node.value + 1)
        if isinstance(node.value, str):
            yield Change(node, "value", f"XX{node.value}")
    for body in (getattr(node, "body", None), getattr(node, "orelse", None)):
        for place, line in enumerate(body if isinstance(body, list) else []):
            plain = isinstance(line, ast.Expr) and not isinstance(line.value, (ast.Constant, ast.Yield))
            if plain or isinstance(line, (ast.AugAssign, ast.Raise, ast.Continue, ast.Break)):
                yield Change(body, place, ast.Pass())


def put(change: Change) -> object:
    """Make the change in the tree; returns what was there."""
    owner, key, new = change
    old: object = owner[key] if isinstance(owner, list) else getattr(owner, key)
    if isinstance(owner, list):
        owner[key] = new
    else:
        setattr(owner, key, new)
    return old


def mutants(file: Path) -> Iterator[Mutant]:
    """Every mutant of a module."""
    tree = ast.parse(file.read_text())
    for node in list(code(tree)):
        for change in changes(node):
            old = put(change)
            place: Any = old if hasattr(old, "lineno") else node
            lines = range(place.lineno, place.end_lineno + 1)
            mutated = ast.unparse(tree)
            put(change._replace(new=old))
            text = next(difference(ast.unparse(tree), mutated))
            yield Mutant(file.name, lines, mutated, text)


def difference(before: str, after: str) -> Iterator[str]:
    """The first line that differs, as it was and as it is."""
    for old, new in zip(before.splitlines(), after.splitlines(), strict=False):
        if old != new:
            yield f"{old.strip()}  ->  {new.strip()}"
