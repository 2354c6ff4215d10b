"""The names that a module's class may override, and names that were meant to be one of them.

A misspelled override is called by nobody: the module would act unprotected, or by a default.
"""

from __future__ import annotations

from collections.abc import Iterable

PHASES = ("train", "exploration", "inference")
PUBLIC_FORWARDS = tuple(f"forward_{phase}" for phase in PHASES)
OVERRIDABLE = tuple(
    f"{prefix}_{phase}" for prefix in ("_forward", "input_specs", "output_specs") for phase in PHASES
)
STEM = 5  # letters that "explore" and "exploration" have in common, and "trunk" and "train" have not


def misspelled(names: Iterable[str]) -> dict[str, str]:
    """Return which of these names were meant to be one to override, each with that one.

    >>> misspelled(["_forward_traing", "input_spec_explore", "_forward_trunk", "_forward_train"])
    {'_forward_traing': '_forward_train', 'input_spec_explore': 'input_specs_exploration'}
    """
    meant = {name: name for name in OVERRIDABLE} | {name: f"_{name}" for name in PUBLIC_FORWARDS}
    near = {
        name: next((known for known in meant if _is_near(name, known)), None)
        for name in names
        if name not in meant
    }
    return {name: meant[known] for name, known in near.items() if known is not None}


def _is_near(name: str, known: str) -> bool:
    """Whether a name differs from a known one by a slip, or also by the ending of its last word.

    A ratio of equal letters (difflib) does not tell these from helpers: by it `_forward_export` is nearer
    to `_forward_exploration` than `_forward_explore`.
    """
    if name.startswith("_") != known.startswith("_"):  # an author's own `_input_specs_train` is no slip
        return False
    head, _, phase = name.rpartition("_")
    known_head, _, known_phase = known.rpartition("_")
    same_stem = phase[:STEM] == known_phase[:STEM]
    return _one_slip(name, known) or (
        _one_slip(head, known_head) and (same_stem or _one_slip(phase, known_phase))
    )


def _one_slip(one: str, other: str) -> bool:
    """Whether two words are equal but for one letter more, less or other, or for two that are swapped."""
    one, other = _unlike(one, other)
    one, other = _unlike(one[::-1], other[::-1])
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])


def _unlike(one: str, other: str) -> tuple[str, str]:
    """Return two words without the letters that both begin with."""
    while one and one[:1] == other[:1]:
        one, other = one[1:], other[1:]
    return one, other
