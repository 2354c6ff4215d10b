"""What is promised of the distribution: small, and quick to import."""

import io
import subprocess
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

ROOT = Path(__file__).parents[1]
RECORDS = 2_400  # bytes that the wheel's own records take: hashes, names, the head of the metadata


def test_the_wheel_has_at_most_50_kb() -> None:
    if not (ROOT / "src").exists():
        pytest.skip("THE SOURCES ARE NOT HERE: the size of the wheel was not tested")
    wheel = io.BytesIO()
    with ZipFile(wheel, "w", ZIP_DEFLATED) as archive:
        for file in [*sorted((ROOT / "src").rglob("*.py")), ROOT / "LICENSE", ROOT / "README.md"]:
            name = file.relative_to(ROOT / "src") if file.suffix == ".py" else file.name
            archive.write(file, name)

    assert len(wheel.getvalue()) + RECORDS <= 50_000


HEAVY = ("typing", "re", "dataclasses", "inspect", "json", "random", "difflib", "argparse")


@pytest.mark.parametrize(
    ("line", "loaded"),
    [
        ("import rlmodule_specs", []),
        ("from rlmodule_specs import Checker, TensorSpec, check_input_specs", ["typing", "re"]),
        ("import rlmodule_specs as r; r.check({'a': 1}, {'a': int})", ["typing", "re"]),
    ],
)
def test_an_import_loads_what_it_needs_and_no_more(line: str, loaded: list[str]) -> None:
    code = f"import sys; sys.path[:] = {sys.path!r}; {line}; print([x for x in {HEAVY} if x in sys.modules])"
    command = [sys.executable, "-S", "-c", code]  # without what an environment loads at each start
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"{loaded}\n", done.stderr
