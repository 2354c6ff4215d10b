"""The four laws of the structure, held against the sources themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {path.name: path for path in ROOT.glob("packages/*/src/*") if path.is_dir()}
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax"}
NEUTRAL = ["rlmodule_specs", "rlmodule_core", "rlmodule_catalogs", "rlmodule_algos"]


def imported_names(source: str) -> Iterator[str]:
    """Yield every module name that a source imports anywhere, also inside functions and by its string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            yield from (str(word.value) for word in node.args if isinstance(word, ast.Constant))


def foreign_imports(path: Path, allowed: set[str]) -> list[str]:
    """Return the framework or framework-package imports of a file that its name does not allow."""
    watched = FRAMEWORKS | {"rlmodule_torch", "rlmodule_tf"}
    tops = {name.partition(".")[0] for name in imported_names(path.read_text())}
    return sorted((tops & watched) - allowed)


def public_names(package: str, file: str) -> set[str]:
    """Return the public classes and functions that a file of a package defines."""
    tree = ast.parse((SOURCES[package] / file).read_text())
    defined = (ast.ClassDef, ast.FunctionDef)
    return {node.name for node in tree.body if isinstance(node, defined) and not node.name.startswith("_")}


# --- law 1: only the arrows of the blueprint --------------------------------------------------


def test_every_import_between_packages_and_between_folders_of_algos_points_down() -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout
    assert "0 broken" in checked.stdout


def test_the_six_packages_are_all_there_is() -> None:
    assert sorted(SOURCES) == [
        "rlmodule_algos",
        "rlmodule_catalogs",
        "rlmodule_core",
        "rlmodule_specs",
        "rlmodule_tf",
        "rlmodule_torch",
    ]


# --- law 2: a framework only where the file's name says so ------------------------------------


def test_in_algos_only_files_named_for_a_framework_import_it() -> None:
    allowed = {"_torch.py": {"torch", "rlmodule_torch"}, "_tf.py": {"tensorflow", "rlmodule_tf"}}
    wrong = {}
    for path in SOURCES["rlmodule_algos"].rglob("*.py"):
        ending = next((names for suffix, names in allowed.items() if path.name.endswith(suffix)), set())
        if found := foreign_imports(path, ending):
            wrong[str(path.relative_to(ROOT))] = found

    assert not wrong


@pytest.mark.parametrize("package", ["rlmodule_specs", "rlmodule_core", "rlmodule_catalogs"])
def test_a_neutral_package_names_no_framework_in_any_import(package: str) -> None:
    wrong = {
        path.name: found for path in SOURCES[package].rglob("*.py") if (found := foreign_imports(path, set()))
    }

    assert not wrong


def test_ray_is_imported_in_one_file_at_most() -> None:
    importing = [
        path
        for source in SOURCES.values()
        for path in source.rglob("*.py")
        if any(name.partition(".")[0] == "ray" for name in imported_names(path.read_text()))
    ]

    assert len(importing) <= 1


# --- law 3: importing a package imports no framework that it does not name --------------------


@pytest.mark.parametrize("package", NEUTRAL)
def test_importing_a_neutral_package_loads_no_framework(package: str) -> None:
    code = f"import sys, {package}; print(sorted({FRAMEWORKS!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(("package", "other"), [("rlmodule_torch", "tensorflow"), ("rlmodule_tf", "torch")])
def test_a_framework_package_does_not_load_the_other_framework(package: str, other: str) -> None:
    code = f"import sys, {package}; print({other!r} in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


def test_specs_load_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import rlmodule_specs; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(new - set(sys.stdlib_module_names) - {'rlmodule_specs'}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


# --- law 4: the frameworks' packages are twins ------------------------------------------------


def test_torch_and_tf_have_the_same_files() -> None:
    torch_files, tf_files = (
        {
            str(path.relative_to(SOURCES[package]))
            for path in SOURCES[package].rglob("*.py")
            if path.name.startswith("__") or not path.name.startswith("_")  # private ones are each one's own
        }
        for package in ("rlmodule_torch", "rlmodule_tf")
    )

    assert torch_files == tf_files


def test_torch_and_tf_define_the_same_public_names() -> None:
    for path in SOURCES["rlmodule_torch"].rglob("*.py"):
        file = str(path.relative_to(SOURCES["rlmodule_torch"]))
        torch_names = {name.replace("Torch", "Tf") for name in public_names("rlmodule_torch", file)}

        assert torch_names == public_names("rlmodule_tf", file), file


def test_torch_and_tf_export_the_same_names_from_their_roots() -> None:
    import rlmodule_tf
    import rlmodule_torch

    assert {name.replace("Torch", "Tf") for name in rlmodule_torch.__all__} == set(rlmodule_tf.__all__)
