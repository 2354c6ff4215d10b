"""What changed between two specs, for people."""

from typing import NamedTuple

from rlmodule_specs.describe import expectation, limits_text
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict, SpecType, canonical, written
from rlmodule_specs.wording import join

__all__ = ["Change", "diff"]

ABSENT = "nothing"


class Change(NamedTuple):
    """One place where two specs differ: `obs.image: float32 [b, 84] -> float32 [b, 64]`."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path or '(root)'}: {self.old} -> {self.new}"


def diff(old: SpecType, new: SpecType) -> tuple[Change, ...]:
    """Every place where the specs differ, the old one's places first; empty for equal specs.

    >>> [str(change) for change in diff({"a": TensorSpec("b, 84"), "c": None}, {"a": TensorSpec("b, 64")})]
    ['a: [b, 84] -> [b, 64]', 'c: anything -> nothing']
    """
    return tuple(_changes(canonical(old), canonical(new), ""))


def _changes(old: Node, new: Node, path: str) -> list[Change]:
    if not isinstance(old, SpecDict) or not isinstance(new, SpecDict):
        return [] if old == new else [Change(path, *_told_apart(old, new))]
    found: list[Change] = []
    for key in dict.fromkeys((*old, *new)):
        place = join(path, key)
        if key not in new:
            found.append(Change(place, _text(old[key]), ABSENT))
        elif key not in old:
            found.append(Change(place, ABSENT, _text(new[key])))
        else:
            found += _changes(old[key], new[key], place)
    return found


def _text(node: Node) -> str:
    return expectation(node) + (limits_text(node) if isinstance(node, TensorSpec) else "")


def _told_apart(old: Node, new: Node) -> tuple[str, str]:
    """Short where that shows the difference, as written where it does not: `h=10` and `10` read the same."""
    short = _text(old), _text(new)
    return short if short[0] != short[1] else (written(old), written(new))
