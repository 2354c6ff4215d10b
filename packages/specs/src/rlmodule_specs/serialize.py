"""Specs as JSON and back.

null                                                      anything
{"class": ["builtins:int"]}                               an instance of one of these
{"tensor": "b, h", "sizes": {"h": 10}, "dtype": "float32", "framework": "torch",
 "low": 0, "high": 1, "classes": 5}                       a tensor; all but "tensor" may be absent
{"keys": {"obs": ..., "mask": ...}}                       these keys
{"keys": [[0, ...], [1, ...]]}                            the same where a key is a number
"""

import json
import sys
from typing import Any

from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Key, Node, SpecDict, SpecType, canonical
from rlmodule_specs.wording import join, safe_repr, suggestion

__all__ = ["from_json", "to_json"]

OPTIONS = ("sizes", "dtype", "framework", "low", "high", "classes")


def to_json(spec: SpecType, *, indent: int | None = None) -> str:
    """The spec as JSON text.

    >>> to_json({"obs": TensorSpec("b, 4", dtype="float32")})
    '{"keys": {"obs": {"tensor": "b, 4", "dtype": "float32"}}}'
    """
    return json.dumps(_plain(canonical(spec)), indent=indent)


def _plain(node: Node) -> object:
    if isinstance(node, SpecDict):
        if all(isinstance(key, str) for key in node):
            return {"keys": {key: _plain(child) for key, child in node.items()}}
        return {"keys": [[key, _plain(child)] for key, child in node.items()]}
    if isinstance(node, TensorSpec):
        options = {name: getattr(node, name) for name in OPTIONS}
        options["sizes"] = dict(node.sizes) or None
        return {"tensor": node.shape, **{name: value for name, value in options.items() if value is not None}}
    return None if node is None else {"class": [f"{cls.__module__}:{cls.__qualname__}" for cls in node]}


def from_json(text: str) -> Node:
    """The spec in JSON text. Anything that is none is a ValueError that names the place.

    A class is looked up among the modules that are loaded; a file never makes one be imported.

    >>> from_json('{"keys": {"obs": {"tensor": "b, 4"}}}')
    SpecDict({'obs': TensorSpec('b, 4')})
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no JSON: {error}") from error
    return canonical(_node(plain, ""))


def _node(plain: object, path: str) -> Node:
    place = path or "(root)"
    if plain is None:
        return None
    if isinstance(plain, dict) and "tensor" in plain:
        return _tensor(plain, place)
    if isinstance(plain, dict) and plain.keys() == {"class"} and isinstance(plain["class"], list):
        return tuple(_loaded_class(name, place) for name in plain["class"])
    if isinstance(plain, dict) and plain.keys() == {"keys"}:
        return SpecDict({key: _node(child, join(path, key)) for key, child in _pairs(plain["keys"], place)})
    raise ValueError(f"{place}: a spec is null or has 'tensor', 'class' or 'keys', got {safe_repr(plain)}")


def _pairs(keys: object, place: str) -> list[tuple[Key, object]]:
    pairs = list(keys.items()) if isinstance(keys, dict) else keys
    if not isinstance(pairs, list) or not all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs
    ):
        raise ValueError(f"{place}: 'keys' is an object or a list of pairs, got {safe_repr(keys)}")
    return [(key, child) for key, child in pairs]


def _tensor(plain: dict[str, Any], place: str) -> TensorSpec:
    options = {name: value for name, value in plain.items() if name != "tensor"}
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"{place}: a tensor has no {name!r}: {suggestion(name, OPTIONS)}")
    try:
        sizes = options.pop("sizes", {})
        if not isinstance(sizes, dict):
            raise ValueError(f"sizes is an object of sizes by name, got {safe_repr(sizes)}")
        low, high, classes = (options.pop(name, None) for name in ("low", "high", "classes"))
        spec = TensorSpec(plain["tensor"], **options, **sizes)
        spec = spec if low is None and high is None else spec.within(low, high)
        return spec if classes is None else spec.one_of(classes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error


def _loaded_class(name: object, place: str) -> type:
    module, _, qualname = name.partition(":") if isinstance(name, str) else ("", "", "")
    found: object = sys.modules.get(module)
    if found is None:
        raise ValueError(f"{place}: the class {name!r} is not loaded: import {module or 'its module'} first")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise ValueError(f"{place}: {name!r} is no class")
    return found
