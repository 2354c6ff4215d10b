"""Hypothesis strategies: data that satisfies a spec. Needs `pip install 'rlmodule-specs[hypothesis]'`."""

import math

from hypothesis import strategies as st

from rlmodule_specs.arrays import bounds, kind, of_values
from rlmodule_specs.make import assemble, known_sizes, names_of, sizes_of
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import SpecType, canonical

__all__ = ["from_spec"]

LARGEST = 4  # size of an axis that nothing fixes
DRAWN = 64  # elements drawn one by one; a larger tensor repeats them
FARTHEST = 60000.0  # a limit where there is none; float16 has it too


def from_spec(spec: SpecType, **sizes: int) -> st.SearchStrategy[object]:
    """Data that satisfies the spec, limits of values included. Names without a size are drawn from 0 to 4."""
    node = canonical(spec)
    known = known_sizes(node, sizes)
    free = [name for name in names_of(node) if name not in known]

    @st.composite
    def data(draw: st.DrawFn) -> object:
        bound = {**known, **{name: draw(st.integers(0, LARGEST)) for name in free}}
        return assemble(node, lambda leaf: _tensor(draw, leaf, bound))

    return data()


def _tensor(draw: st.DrawFn, spec: TensorSpec, bound: dict[str, int]) -> object:
    size = st.integers(0, LARGEST)
    shape = sizes_of(spec, bound, lambda: draw(size), lambda: draw(st.lists(size, max_size=2)))
    number = math.prod(shape)
    drawn = min(number, DRAWN)
    values = draw(st.lists(_elements(spec), min_size=drawn, max_size=drawn))
    return of_values(spec, shape, [values[place % drawn] for place in range(number)])


def _elements(spec: TensorSpec) -> "st.SearchStrategy[complex]":
    values = kind(spec)
    if values is bool:
        return st.booleans()
    if values is int:
        return st.integers(*bounds(spec))
    if values is complex:
        return st.complex_numbers(allow_nan=False, allow_infinity=False, width=64)
    allowed = spec.limits
    if allowed is None:
        finite = {"allow_nan": False, "allow_infinity": False}
        return st.floats(width=16, **finite) if spec.dtype == "float16" else st.floats(width=32, **finite)
    low, high = allowed
    return st.floats(max(low, min(-FARTHEST, high)), min(high, max(FARTHEST, low)))
