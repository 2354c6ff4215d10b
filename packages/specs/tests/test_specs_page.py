"""Every row of docs/specs.md is run as it stands there."""

import re
from collections import UserDict, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import rlmodule_specs
from rlmodule_specs import CallChecker, Checker, SpecError, canonical

numpy: Any = pytest.importorskip("numpy")
PAGE = Path(__file__).parents[3] / "docs" / "specs.md"
if not PAGE.exists():
    pytest.skip("docs/specs.md IS NOT HERE: none of its rows was run", allow_module_level=True)
RULES = PAGE.read_text(encoding="utf-8").partition("## When")[0]
LINES = [line for line in RULES.splitlines() if line.startswith("| ")]
ROWS = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in LINES]
HEADS = [["rule", "spec", "accepted", "refused"], ["written", "the error ends in"], ["rule", "holds"]]
EXAMPLES = [row for row in ROWS if len(row) == 4 and row not in HEADS]
ERRORS = [row for row in ROWS if len(row) == 2 and "`" not in row[1] and row not in HEADS]
FACTS = [row for row in ROWS if len(row) == 2 and "`" in row[1]]


@dataclass
class DataclassBatch:
    obs: object


class NamedTupleBatch(NamedTuple):
    obs: object


class Zeros:
    """`f32[3, 4]`."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __getitem__(self, shape: int | tuple[int, ...]) -> object:
        zeros: object = numpy.zeros(shape, self.dtype)
        return zeros


NAMES: dict[str, Any] = {
    **{name: getattr(rlmodule_specs, name) for name in rlmodule_specs.__all__},
    **{cls.__name__: cls for cls in (UserDict, defaultdict, DataclassBatch, NamedTupleBatch)},
    "np": numpy,
    "f32": Zeros("float32"),
    "f64": Zeros("float64"),
}


def meant(cell: str) -> list[Any]:
    """The values of the pieces of code in a cell."""
    if "torch." in cell:
        NAMES["torch"] = pytest.importorskip("torch")
    if "tf." in cell:
        NAMES["tf"] = pytest.importorskip("tensorflow")
    pieces = [piece.replace(r"\|", "|") for piece in re.findall("`([^`]+)`", cell)]
    return [eval(re.sub(r"(f\d\d)\[\]", r"\1[()]", piece), NAMES) for piece in pieces]


def ask(spec: Any, data: Any) -> None:
    if isinstance(spec, CallChecker):
        spec.output(data[1], spec.input(data[0]))
    else:
        (spec if isinstance(spec, Checker) else Checker(spec)).check(data)


def accepts(spec: Any, data: Any) -> bool:
    try:
        if type(data).__module__.startswith("tensorflow") and type(data).__name__ == "TensorSpec":
            graph = NAMES["tf"].function(lambda value: ask(spec, value))
            graph.get_concrete_function(data)
        else:
            ask(spec, data)
    except SpecError:
        return False
    return True


def test_no_row_of_the_page_is_overlooked() -> None:
    assert [row for row in ROWS if row not in EXAMPLES + ERRORS + FACTS + HEADS] == []
    assert min(len(EXAMPLES), len(ERRORS), len(FACTS)) > 8


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_a_row_accepts_and_refuses_what_it_says(row: list[str]) -> None:
    specs, accepted, refused = meant(row[1]), meant(row[2]), meant(row[3])
    assert specs
    assert accepted
    assert refused
    for spec in specs:
        assert [accepts(spec, data) for data in accepted] == [True] * len(accepted)
        assert [accepts(spec, data) for data in refused] == [False] * len(refused)
    forms = [canonical(spec) for spec in specs if not isinstance(spec, (Checker, CallChecker))]
    assert all(form == forms[0] for form in forms)


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row[0])
def test_a_row_is_refused_where_it_is_written(row: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(row[1]) + "$"):
        meant(row[0])


@pytest.mark.parametrize("row", FACTS, ids=lambda row: row[0])
def test_a_row_holds(row: list[str]) -> None:
    assert meant(row[1]) == [True]
