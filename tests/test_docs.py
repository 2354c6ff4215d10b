"""What the documentation says of settings and files is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rlmodule_algos import AlgorithmConfig, APPOConfig, BCConfig, ImpalaConfig, PPOConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALGORITHMS: dict[str, tuple[AlgorithmConfig, set[str]]] = {
    "ppo": (PPOConfig(), set(PPOConfig.training_settings.__annotations__)),
    "impala": (ImpalaConfig(), set(ImpalaConfig.training_settings.__annotations__)),
    "appo": (APPOConfig(), set(APPOConfig.training_settings.__annotations__)),
    "bc": (BCConfig(), set(BCConfig.training_settings.__annotations__) - {"gamma"}),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_page_of_an_algorithm_lists_every_training_setting_with_its_default(name: str) -> None:
    config, declared = ALGORITHMS[name]
    page = (ROOT / f"docs/algorithms/{name}.md").read_text()
    listed = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", page, flags=re.MULTILINE))
    expected = {
        setting: str(getattr(config, setting)) if not isinstance(getattr(config, setting), str) else None
        for setting in declared
        if setting != "model"
    }

    assert set(listed) == set(expected)
    for setting, default in expected.items():
        wanted = f'"{getattr(config, setting)}"' if default is None else default
        assert listed[setting] == wanted, setting


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_links_to_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []
