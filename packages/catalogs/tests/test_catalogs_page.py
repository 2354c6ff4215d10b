"""docs/spaces-to-networks.md: its blocks run and print what they say, and its tables are the code's."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import rlmodule_catalogs
from rlmodule_catalogs import Catalog, ModelSettings, default_conv_layers
from rlmodule_catalogs.conv_filters import FILTERS, conv_layers
from rlmodule_core import CNNEncoderConfig
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_core.model_config import ACTIVATION_NAMES

PAGE = Path(__file__).parents[3] / "docs" / "spaces-to-networks.md"
if not PAGE.exists():
    pytest.skip("docs/spaces-to-networks.md IS NOT HERE: nothing of it was run", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def rows(start: str) -> list[list[str]]:
    """Return the cells of the table that has a heading row with this beginning."""
    table = TEXT[TEXT.index(start) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("text", [TEXT, README], ids=["page", "readme"])
def test_the_blocks_run_without_a_framework_and_print_what_they_say(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    expected = "".join(re.findall(r"```text\n(.*?)```", text, re.DOTALL))
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, "page", "exec", dont_inherit=True), names)

    assert capsys.readouterr().out == expected
    assert blocks
    assert expected


def test_the_pages_own_config_class_builds_a_layer_for_any_leading_axes() -> None:
    torch = pytest.importorskip("torch")
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "page", "exec", dont_inherit=True), names)

    layer = names["PointsConfig"]().build("torch")
    assert layer(torch.zeros(2, 3, 200, 3)).shape == (2, 3, 16)


def test_every_setting_is_listed_with_its_default() -> None:
    listed = {name: default for name, default, _ in rows("| key | default |")}
    defaults = {field.name: field.default for field in fields(ModelSettings)}
    expected = {
        f"`{name}`": f"`{json.dumps(default) if isinstance(default, str) else default}`"
        for name, default in defaults.items()
    }
    assert list(listed.items()) == list(expected.items())


@pytest.mark.parametrize(
    ("key", "names"), [("fcnet_activation", ACTIVATION_NAMES), ("initializer", INITIALIZER_NAMES)]
)
def test_every_name_that_a_setting_takes_is_listed(key: str, names: tuple[str, ...]) -> None:
    (row,) = [row for row in rows("| key | default |") if row[0] == f"`{key}`"]
    assert set(names) <= set(re.findall(r"\w+", " ".join(row)))


def test_the_filters_are_listed_with_the_maps_that_they_give() -> None:
    listed = rows("| image | filters |")
    assert len(listed) == len(FILTERS)
    for image, filters, maps in listed:
        height, width = map(int, image.split("x"))
        written = json.loads("[" + filters.strip("`").replace("] [", "], [") + "]")
        layers = default_conv_layers((height, width))
        sizes = CNNEncoderConfig(image=(height, width, 3), layers=layers).map_sizes[1:]

        assert conv_layers(written) == layers, image
        assert maps == " ".join(f"{high}x{wide}" for high, wide in sizes), image


def test_every_catalog_and_every_decision_is_named() -> None:
    catalogs = {name for name in rlmodule_catalogs.__all__ if name.endswith("Catalog")} - {"Catalog"}
    decisions = {name for name in vars(Catalog) if name.startswith("get_")}
    for name in catalogs | decisions | {"masks_actions", "latent_dim", "encoded_space"}:
        assert name in TEXT, name


def test_lines_are_short_enough_to_read() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
