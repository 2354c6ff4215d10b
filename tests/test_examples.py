"""Every example runs, in a process of its own, as a reader would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_the_example_runs(example: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), "1"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


PACKAGE_PAGES = sorted(ROOT.glob("packages/*/README.md"))
PAGES = [ROOT / "README.md", *PACKAGE_PAGES, *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    code = "\n".join(python_blocks(page))
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert ran.returncode == 0, ran.stderr
