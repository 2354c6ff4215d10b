"""The losses of the two frameworks are the same page: equal code after a short table of renames."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ALGOS = Path(__file__).resolve().parents[1] / "packages/algos/src/rlmodule_algos"
PAIRS = sorted(ALGOS.glob("*/loss_torch.py"))

# What a TensorFlow word is called in PyTorch; everything else must be equal as it stands.
RENAMES = {
    "rlmodule_tf": "rlmodule_torch",
    "tensorflow as tf": "torch",
    "tensorflow": "torch",
    "TensorFlow": "PyTorch",
    "tf.clip_by_value": "torch.clamp",
    "tf.": "torch.",
}


def canonical(path: Path) -> str:
    """Return the code without its comments, in PyTorch's words."""
    source = path.read_text()
    for tf_word, torch_word in RENAMES.items():
        source = source.replace(tf_word, torch_word)
    return ast.unparse(ast.parse(source))


@pytest.mark.parametrize("torch_file", PAIRS, ids=lambda path: path.parent.name)
def test_a_loss_is_the_same_code_in_both_frameworks(torch_file: Path) -> None:
    assert canonical(torch_file.with_name("loss_tf.py")) == canonical(torch_file)


def test_every_loss_has_its_twin() -> None:
    torch_files = {path.parent.name for path in PAIRS}

    assert torch_files == {path.parent.name for path in ALGOS.glob("*/loss_tf.py")}
    assert torch_files
