"""A dict of dicts addressed by paths, for people; hot paths use plain dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

Key: TypeAlias = str | tuple[str, ...]


class NestedDict(MutableMapping[Key, Any]):
    """A mapping over nested dicts with str or tuple-of-str keys.

    Iteration yields the full paths of leaves; a partial path gets the sub-tree as a NestedDict that
    shares storage with its parent.

    >>> d = NestedDict({"obs": {"arm": 1, "leg": 2}})
    >>> d["obs", "arm"], d["obs"]["leg"], ("obs", "eye") in d, len(d)
    (1, 2, False, 2)
    >>> del d["obs", "arm"]; del d["obs", "leg"]; d.asdict()
    {}
    """

    def __init__(self, data: Mapping[Any, Any] | Iterable[tuple[Key, Any]] | None = None) -> None:
        self._data: dict[str, Any] = {}
        if data is None:
            return
        for key, value in data.items() if isinstance(data, Mapping) else data:
            self[key] = value

    @classmethod
    def _share(cls, data: dict[str, Any]) -> NestedDict:
        view = cls()
        view._data = data
        return view

    def __getitem__(self, key: Key) -> Any:
        node: Any = self._data
        for part in _path(key):
            if not isinstance(node, dict) or part not in node:
                raise KeyError(f"{_show(key)}: no such path")
            node = node[part]
        return NestedDict._share(node) if isinstance(node, dict) else node

    def __setitem__(self, key: Key, value: Any) -> None:
        *parents, last = _path(key)
        value = NestedDict(value)._data if isinstance(value, Mapping) else value  # may refuse: first
        node = self._data
        for depth, part in enumerate(parents):
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                taken = _show(tuple(parents[: depth + 1]))
                raise KeyError(f"{_show(key)}: {taken} holds a leaf, so nothing can be put below it")
            node = child
        node[last] = value

    def __delitem__(self, key: Key) -> None:
        path = _path(key)
        nodes = [self._data]
        for part in path:
            node = nodes[-1]
            if not isinstance(node, dict) or part not in node:
                raise KeyError(f"{_show(key)}: no such path")
            nodes.append(node[part])
        for node, part in zip(reversed(nodes[:-1]), reversed(path), strict=True):
            del node[part]
            if node:  # an emptied parent goes too
                break

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, (str, tuple)):
            return False
        try:
            self[key]
        except (KeyError, TypeError):
            return False
        return True

    def __iter__(self) -> Iterator[Key]:
        return (path[0] if len(path) == 1 else path for path, _ in _walk(self._data, ()))

    def __len__(self) -> int:
        return sum(1 for _ in _walk(self._data, ()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        try:
            return self._data == NestedDict(other)._data
        except KeyError:  # keys that a NestedDict cannot have
            return False

    __hash__ = None  # type: ignore[assignment]  # mutable, as dict

    def __or__(self, other: Mapping[Any, Any]) -> NestedDict:
        """Merge deeply; where both have a leaf, or only one of them a sub-tree, `other` wins."""
        if not isinstance(other, Mapping):
            return NotImplemented
        return NestedDict._share(_merged(self._data, NestedDict(other)._data))

    def __repr__(self) -> str:
        return f"NestedDict({self._data!r})"

    def filter(self, keys: Iterable[Key], ignore_missing: bool = False) -> NestedDict:
        """Return the sub-tree that holds just `keys`; a missing one is a KeyError unless ignored."""
        wanted = list(keys)
        missing = [key for key in wanted if key not in self]
        if missing and not ignore_missing:
            raise KeyError(f"missing: {', '.join(map(_show, missing))}")
        return NestedDict([(key, self[key]) for key in wanted if key in self])

    def asdict(self) -> dict[str, Any]:
        """Return plain nested dicts, a copy; leaves are shared."""
        return NestedDict(self)._data


def _path(key: Key) -> tuple[str, ...]:
    path = (key,) if isinstance(key, str) else key
    if not isinstance(path, tuple) or not path or not all(isinstance(part, str) for part in path):
        raise KeyError(f"{key!r}: a key is a str or a non-empty tuple of str")
    return path


def _show(key: Key) -> str:
    return ".".join(key) if isinstance(key, tuple) else key


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = dict(NestedDict(first)._data)
    for key, value in second.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _walk(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _walk(value, (*path, key))
        else:
            yield (*path, key), value
