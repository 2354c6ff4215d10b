"""Data with parts: mappings, tuples and lists, dataclass instances and named tuples, read unchanged."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

from rlmodule_specs.tree import SpecDict

__all__ = ["ABSENT", "Container", "field_names", "open_container"]

ABSENT = object()
READ = 1000  # keys of one mapping that a message looks at


class Container(Protocol):
    """The parts of a value under keys."""

    def get(self, key: object) -> object:
        """The part under the key, or ABSENT."""

    def keys(self) -> Sequence[object]:
        """The keys that are there, at most READ of them."""

    def size(self) -> int:
        """How many there are."""


class _Mapping:
    def __init__(self, value: Mapping[object, object]) -> None:
        self.value = value

    def get(self, key: object) -> object:
        if key not in self.value:  # asked first: a defaultdict would grow
            return ABSENT
        return self.value[key]

    def keys(self) -> Sequence[object]:
        return tuple(islice(self.value, READ))

    def size(self) -> int:
        return len(self.value)


class _Elements:
    def __init__(self, value: Sequence[object]) -> None:
        self.value = value

    def get(self, key: object) -> object:
        return self.value[key] if isinstance(key, int) and key < len(self.value) else ABSENT

    def keys(self) -> Sequence[object]:
        return range(min(len(self.value), READ))

    def size(self) -> int:
        return len(self.value)


class _Fields:
    def __init__(self, value: object, names: tuple[str, ...]) -> None:
        self.value = value
        self.names = names

    def get(self, key: object) -> object:
        return getattr(self.value, key) if isinstance(key, str) and key in self.names else ABSENT

    def keys(self) -> Sequence[object]:
        return self.names

    def size(self) -> int:
        return len(self.names)


def open_container(value: object, spec: SpecDict) -> Container | None:
    """The parts that the spec speaks of; None where the value has none.

    Elements are asked for by whole numbers, fields by name: a named tuple has both.
    """
    if isinstance(value, Mapping):
        return _Mapping(value)
    by_number = bool(spec) and all(isinstance(key, int) for key in spec)
    if isinstance(value, (tuple, list)) and by_number:
        return _Elements(value)
    names = field_names(value)
    return None if names is None else _Fields(value, names)


def field_names(value: object) -> tuple[str, ...] | None:
    """The fields of a dataclass instance or a named tuple, None for anything else."""
    cls = type(value)
    fields = getattr(cls, "__dataclass_fields__", None)
    if isinstance(fields, dict):
        return tuple(name for name in fields if hasattr(value, name))
    names = getattr(cls, "_fields", None)
    return names if isinstance(value, tuple) and isinstance(names, tuple) else None
