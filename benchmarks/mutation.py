"""Change the code of rlmodule_specs in one place at a time and see whether a test notices.

    hatch run python benchmarks/mutation.py                    all modules, for an hour; prints survivors
    hatch run python benchmarks/mutation.py shape.py tree.py   some of them
    hatch run python benchmarks/mutation.py --again out.txt    those that an earlier run printed

One process loads the frameworks once and forks for each mutant. The child sees a copy of the package with the
change, as do its own subprocesses; it runs the tests, those that execute the changed lines first, until one
fails. Docstrings, annotations and what only a type checker reads are not changed.
"""

import argparse
import compileall
import contextlib
import doctest
import gc
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "packages/specs/src/rlmodule_specs"
TESTS = sorted((ROOT / "packages/specs/tests").glob("test_*.py"))
LEFT_OUT = "not compiled_code_at_every_call and not exported_graph and not 2000_pairs"  # seconds each
LOADED = ("numpy", "torch", "torch._dynamo.testing", "tensorflow", "hypothesis.strategies", "difflib")
WORK = Path(tempfile.gettempdir()) / f"mutants-{os.getpid()}"  # holds the copy of the package
ENOUGH = 6.0  # seconds of tests that come first
LIMIT = 120  # seconds of one mutant: it may have made a loop endless
Watched = tuple[dict[tuple[str, int], set[str]], dict[str, float]]  # lines with their tests, seconds of tests
Plan = list[tuple[Path, dict[str, float]]]  # test files, each with its tests and the seconds they take


class Watch:
    """A plugin of pytest: which test executes which line, and for how long it runs."""

    def __init__(self) -> None:
        self.now = ""  # a test, the file that is collected, or "" while the package itself is loaded
        self.hits: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self.now = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A part of a test has ended."""
        self.seconds[report.nodeid] += report.duration

    def trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        """What `sys.settrace` calls."""
        file = frame.f_code.co_filename
        if not file.startswith(str(WORK)):
            return None
        if event == "line":
            self.hits[Path(file).name, frame.f_lineno].add(self.now)
        return self.trace


class Chosen:
    """A plugin of pytest: only these tests, quick ones first, and any whose name the mutant has changed."""

    def __init__(self, seconds: dict[str, float], known: Collection[str]) -> None:
        self.seconds = seconds
        self.known = known

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the others."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self.seconds or item.nodeid not in self.known),
            key=lambda item: self.seconds.get(item.nodeid, 0.0),
        )


def run(file: Path, plugin: object) -> int:
    """The exit code of pytest for one file."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", LEFT_OUT, f"--rootdir={ROOT}"]
    return pytest.main([*options, str(file)], plugins=[plugin])


def forked(work: Callable[[], int], limit: int) -> int:
    """The exit code of `work` in a child of this process, silent and killed at the time limit."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        signal.alarm(limit)
        code = 255
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def watched() -> int:
    """Run all tests on the unchanged package and write down what they execute."""
    plugin = Watch()
    sys.dont_write_bytecode = False  # pytest keeps its version of each test file
    sys.settrace(plugin.trace)
    for file in sorted(PACKAGE.glob("*.py")):
        import_module(f"{PACKAGE.name}.{file.stem}" if file.stem != "__init__" else PACKAGE.name)
    for file in TESTS:
        plugin.now = file.name
        if run(file, plugin):
            return 1
    (WORK / "watched").write_bytes(pickle.dumps((dict(plugin.hits), dict(plugin.seconds))))
    return 0


def plan(mutant: Mutant, hits: dict[tuple[str, int], set[str]], seconds: dict[str, float]) -> Plan:
    """The tests by file: first quick ones that execute the changed lines, then all others.

    A line whose result is kept for the whole process is executed by one test and matters to many.
    """
    names = {name for line in mutant.lines for name in hits.get((mutant.module, line), ())}
    if "" in names:  # run when the module is loaded: whatever uses the module may notice
        names = {name for (module, _), found in hits.items() if module == mutant.module for name in found}
    files = {test: file for file in TESTS for test in seconds if f"/{file.name}::" in test}
    stages: dict[tuple[bool, Path], dict[str, float]] = {}
    used = 0.0
    for test in sorted(files, key=seconds.__getitem__):
        first = used < ENOUGH and (test in names or files[test].name in names)
        used += seconds[test] * first
        stages.setdefault((not first, files[test]), {})[test] = seconds[test]
    in_order = sorted(stages, key=lambda stage: (stage[0], sum(stages[stage].values())))
    return [(stage[1], stages[stage]) for stage in in_order]


def noticed(module: str, tests: Plan) -> int:
    """The number of the first file with a failing test, from 1; 0 where all pass, 255 for a doctest."""
    name = PACKAGE.name if module == "__init__.py" else f"{PACKAGE.name}.{module.removesuffix('.py')}"
    if doctest.testmod(import_module(name)).failed:
        return 255
    known = {test for _, seconds in tests for test in seconds}
    codes = (run(file, Chosen(seconds, known)) for file, seconds in tests)
    return next((number for number, code in enumerate(codes, 1) if code not in (0, 5)), 0)


def prepare() -> None:
    """Copy the package to where its mutants will stand, and load all that they need only once."""
    shutil.copytree(PACKAGE, WORK / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(WORK / PACKAGE.name, quiet=1)
    sys.dont_write_bytecode = True
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(WORK), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    sys.path.insert(0, str(WORK))
    for module in LOADED:
        with contextlib.suppress(ImportError):
            import_module(module)
    (WORK / "none").mkdir()
    pytest.main(["-qq", "-p", "no:cacheprovider", str(WORK / "none")])  # loads pytest's own modules
    gc.freeze()  # else each run of pytest collects the garbage of all frameworks, five times
    if forked(watched, limit=0):
        sys.exit("the tests fail on the unchanged package")


def try_all(name: str, only: set[str], watch: Watched) -> tuple[int, int]:
    """How many mutants of a module were tried, and how many are alive; these are printed."""
    tried, alive, killer = 0, 0, ""
    tests: Plan = []
    for mutant in mutants(PACKAGE / name):
        if only and f"{name}:{mutant.text}" not in only:
            continue
        (WORK / PACKAGE.name / name).write_text(mutant.source)
        tests = plan(mutant, *watch)
        latest = [choice for choice in tests if choice[0].name == killer][:1]
        found = forked(partial(noticed, name, latest + tests), LIMIT)
        killer = (latest + tests)[found - 1][0].name if 0 < found < 255 else killer
        tried += 1
        alive += not found
        if not found:
            print(f"{name}:{mutant.lines.start}: {mutant.text}", flush=True)
    shutil.copy2(PACKAGE / name, WORK / PACKAGE.name / name)
    if tried and forked(partial(noticed, name, tests), limit=0):
        sys.exit(f"the tests fail on the unchanged {name} too")
    print(f"{name}: {tried - alive} of {tried} killed", flush=True)
    return tried, alive


def main() -> None:
    """Try all mutants, or some of them."""
    parser = argparse.ArgumentParser(description="Change the code and see whether a test notices.")
    parser.add_argument("modules", nargs="*", help="such as shape.py; all if none is named")
    parser.add_argument("--again", type=Path, help="an earlier output: try only what it shows")
    options = parser.parse_args()
    earlier = options.again.read_text().splitlines() if options.again else []
    only = {re.sub(r":\d+: ", ":", line) for line in earlier}
    prepare()
    watch: Watched = pickle.loads((WORK / "watched").read_bytes())
    names = options.modules or [file.name for file in sorted(PACKAGE.glob("*.py"))]
    results = [try_all(name, only, watch) for name in names]
    shutil.rmtree(WORK)
    tried, alive = map(sum, zip(*results, strict=True))
    print(f"{1 - alive / tried:.1%} of {tried} mutants killed")


if __name__ == "__main__":
    main()
