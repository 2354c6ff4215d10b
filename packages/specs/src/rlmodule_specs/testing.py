"""For tests of code that takes checked data: a pytest mark that draws its values from a spec."""

from typing import TYPE_CHECKING

from rlmodule_specs.make import sample
from rlmodule_specs.tree import SpecType

if TYPE_CHECKING:
    import pytest

__all__ = ["draws"]


def draws(
    argument: str, spec: SpecType, *, count: int = 5, seed: int = 0, **sizes: int
) -> "pytest.MarkDecorator":
    """Run a test once for each of `count` values that satisfy the spec.

        @draws("batch", {"obs": TensorSpec("b, 4")}, count=3, b=32)
        def test_forward_returns_one_action_a_row(batch): ...

    The seed is the test's id, so that `pytest -k seed2` runs one of them again.
    """
    import pytest  # whoever calls this has it

    seeds = range(seed, seed + count)
    values = [sample(spec, number, **sizes) for number in seeds]
    return pytest.mark.parametrize(argument, values, ids=[f"seed{number}" for number in seeds])
