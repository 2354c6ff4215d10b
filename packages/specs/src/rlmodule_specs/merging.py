"""From any way to write a spec to plain nested dicts: paths unfolded, what is said twice merged."""

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import TypeAlias

from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.wording import join, safe_repr

__all__ = ["Built", "Key", "Path", "build"]

Key: TypeAlias = str | int
Path: TypeAlias = Key | tuple[Key, ...]
Built: TypeAlias = "tuple[type, ...] | TensorSpec | dict[Key, Built] | None"

DEEPEST = 150  # levels; far below Python's recursion limit


def build(spec: object, trail: tuple[Key, ...] = (), inside: tuple[int, ...] = ()) -> Built:
    """Unfold a SpecType that stands at `trail`; `inside` are the ids of the containers around it.

    >>> build(["a", ("a", "b")])
    {'a': {'b': None}}
    """
    if spec is None or isinstance(spec, TensorSpec):
        return spec
    if isinstance(spec, (type, tuple, UnionType)):
        return _classes(spec, trail)
    if not isinstance(spec, (Mapping, Sequence)) or isinstance(spec, (str, bytes)):
        raise ValueError(f"{_at(trail)}{safe_repr(spec)} is no spec: {_advice(spec)}")
    if id(spec) in inside:
        raise ValueError(f"{_at(trail)}the spec contains itself")
    around = (*inside, id(spec))
    node: dict[Key, Built] = {}
    for path in spec:
        keys = _keys(path, trail)
        value = build(spec[path], trail + keys, around) if isinstance(spec, Mapping) else None
        for key in reversed(keys[1:]):
            value = {key: value}
        _merge(node, keys[0], value, trail)
    return node


def _advice(spec: object) -> str:
    if isinstance(spec, str):
        return f"write [{spec!r}] to require that key"
    return "write None, a class, a tuple of classes, a TensorSpec, a list of keys or a mapping"


def _at(trail: tuple[Key, ...]) -> str:
    path = ""
    for key in trail:
        path = join(path, key)
    return f"{path}: " if path else ""


def _keys(path: object, trail: tuple[Key, ...]) -> tuple[Key, ...]:
    keys = path if isinstance(path, tuple) else (path,)
    if not keys:
        raise ValueError(f"{_at(trail)}() is no path: write at least one key")
    if len(trail) + len(keys) > DEEPEST:
        raise ValueError(f"{_at(trail)[:60]}... the spec is nested deeper than {DEEPEST} levels")
    for key in keys:
        if not isinstance(key, (str, int)) or isinstance(key, bool) or (isinstance(key, int) and key < 0):
            kinds = "a key is a str, a whole number from 0 or a tuple of them"
            raise ValueError(f"{_at(trail)}{safe_repr(key)} is no key: {kinds}")
    return tuple(str.__str__(key) if isinstance(key, str) else int(key) for key in keys)  # an enum's value


def _classes(spec: object, trail: tuple[Key, ...]) -> tuple[type, ...]:
    given = spec if isinstance(spec, tuple) else spec.__args__ if isinstance(spec, UnionType) else (spec,)
    if not given:
        raise ValueError(f"{_at(trail)}() is no spec: write a tuple of classes, or None for anything")
    for cls in given:
        if not _is_checkable(cls):
            keys = all(isinstance(item, str) for item in given)
            hint = (
                f"for keys write {list(given)!r}"
                if keys
                else "a tuple is for classes that isinstance() accepts"
            )
            raise ValueError(f"{_at(trail)}{safe_repr(cls)} is no class: {hint}")
    return tuple(dict.fromkeys(given))


def _is_checkable(cls: object) -> bool:
    try:
        isinstance(None, cls)  # type: ignore[arg-type]  # whether it is a class is the question
    except Exception:  # a generic alias, a protocol without @runtime_checkable, no class at all
        return False
    return isinstance(cls, type)


def _merge(node: dict[Key, Built], key: Key, value: Built, trail: tuple[Key, ...]) -> None:
    known = node.get(key)
    if known is None:
        node[key] = value
    elif isinstance(known, dict) and isinstance(value, dict):
        for inner, below in value.items():
            _merge(known, inner, below, (*trail, key))
    elif value is not None and value != known:
        raise ValueError(f"{_at((*trail, key))}given twice, as {safe_repr(known)} and as {safe_repr(value)}")
