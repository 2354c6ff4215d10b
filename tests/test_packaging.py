"""What is promised about the six distributions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
by_folder = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)


def project(package: Path) -> dict[str, Any]:
    metadata: dict[str, Any] = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    return metadata


def version(package: Path) -> str:
    (about,) = package.glob("src/*/__about__.py")
    found = re.search(r'__version__ = "(.+)"', about.read_text())
    assert found
    return found[1]


@by_folder
def test_a_package_is_complete(package: Path) -> None:
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "tests"):
        assert (package / name).exists(), name
    assert list(package.glob("src/*/py.typed"))
    assert list(package.glob("tests/test_*.py"))
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@by_folder
def test_siblings_are_required_by_a_range_that_holds_their_version(package: Path) -> None:
    versions = {project(sibling)["name"]: version(sibling) for sibling in PACKAGES}
    metadata = project(package)
    extras = metadata.get("optional-dependencies", {}).values()
    for requirement in [*metadata["dependencies"], *(line for extra in extras for line in extra)]:
        name, _, range_ = re.match(r"([\w-]+)(\[\w+\])?(.*)", requirement).groups()  # type: ignore[union-attr]
        if name in versions:
            low, high = re.fullmatch(r">=(\d+\.\d+),<(\d+\.\d+)", range_).groups()  # type: ignore[union-attr]
            parts = tuple(map(int, versions[name].split(".")[:2]))
            assert tuple(map(int, low.split("."))) <= parts < tuple(map(int, high.split("."))), requirement


@by_folder
def test_the_changelog_speaks_of_what_is_unreleased(package: Path) -> None:
    assert re.search(r"## (Unreleased|\d+\.\d+\.\d+)\n\n\S", (package / "CHANGELOG.md").read_text())


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in [*ROOT.glob("packages/*/tests/**/*.py"), *ROOT.glob("tests/**/*.py")]]

    assert sorted(names) == sorted(set(names))
