"""`rlmodule-specs`: check a file of arrays against a spec file, write a spec file, compare two.

    rlmodule-specs infer data.npz > spec.json
    rlmodule-specs check data.npz spec.json
    rlmodule-specs diff old.json new.json

Exit code: 0 right or equal, 1 broken or different, 2 a file that cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rlmodule_specs.checker import Checker
from rlmodule_specs.compare import diff
from rlmodule_specs.errors import SpecError
from rlmodule_specs.inference import infer
from rlmodule_specs.serialize import from_json, to_json
from rlmodule_specs.tree import Node

__all__ = ["main", "read_arrays"]


class Unreadable(Exception):
    """A file that is not what the command needs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "check":
            return _check(options.data, options.spec, options.exact, options.values)
        if options.command == "infer":
            print(to_json(infer(read_arrays(options.data), leading=options.leading), indent=2))
            return 0
        changes = diff(_read_spec(options.old), _read_spec(options.new))
    except Unreadable as error:
        print(error, file=sys.stderr)
        return 2
    for change in changes:
        print(change)
    return 1 if changes else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlmodule-specs", description="Check files of arrays against specs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a file of arrays against a spec")
    check.add_argument("data", type=Path, help=".npz or .npy; 'obs/arm' in an .npz is the nested key obs.arm")
    check.add_argument("spec", type=Path, help="a spec as JSON")
    check.add_argument("--exact", action="store_true", help="refuse arrays that the spec does not have")
    check.add_argument("--values", action="store_true", help="compare limits and class numbers too")
    write = commands.add_parser("infer", help="write the spec of a file of arrays")
    write.add_argument("data", type=Path)
    write.add_argument("--leading", nargs="*", default=["b"], help="names of the leading axes (default: b)")
    compare = commands.add_parser("diff", help="show what changed between two specs")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    return parser


def _check(data: Path, spec: Path, exact: bool, values: bool) -> int:
    problems = Checker(_read_spec(spec), exact=exact, values=values).problems(read_arrays(data))
    if not problems:
        print(f"{data} satisfies {spec}")
        return 0
    print(SpecError(problems, subject=str(data), rule=str(spec)))
    return 1


def _read_spec(file: Path) -> Node:
    try:
        return from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Unreadable(f"{file}: {error}") from error


def read_arrays(file: Path) -> object:
    """The arrays of a .npz file, nested at each '/' of their names, or the one of a .npy file."""
    try:
        import numpy  # the command alone needs it
    except ImportError as error:
        raise Unreadable("reading arrays needs NumPy: pip install numpy") from error
    try:
        loaded = numpy.load(file, allow_pickle=False)
        if isinstance(loaded, numpy.ndarray):
            return loaded
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except Exception as error:  # whatever a broken file makes the reader raise
        raise Unreadable(f"{file}: {error}") from error
    tree: dict[str, object] = {}
    for name, array in arrays.items():
        _insert(tree, name, array, file)
    return tree


def _insert(tree: dict[str, object], name: str, array: object, file: Path) -> None:
    *parents, last = name.split("/")
    for parent in parents:
        below = tree.setdefault(parent, {})
        if not isinstance(below, dict):
            raise Unreadable(f"{file}: {parent!r} is an array and also the front of {name!r}")
        tree = below
    if last in tree:
        raise Unreadable(f"{file}: {name!r} is an array and also the front of another name")
    tree[last] = array
