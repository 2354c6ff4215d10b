"""The README's blocks run as they stand and print what they say."""

import re
from pathlib import Path

import pytest

pytest.importorskip("numpy")
README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
PRINTED = re.findall(r"```text\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(3))
def test_a_block_of_the_readme_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[number], {"__name__": "readme"})
    printed = capsys.readouterr().out
    assert printed == [PRINTED[0], "(3, 2)\n(8, 2)\n", DIFFERENCE][number]


DIFFERENCE = """obs: numpy float32 [b, 4] -> numpy float32 [b, t, 4]
reward: numpy float64 [b] -> numpy float64 [b, t]
"""


def test_the_readme_has_three_blocks() -> None:
    assert len(BLOCKS) == 3
