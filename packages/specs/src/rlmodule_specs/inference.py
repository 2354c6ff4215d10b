"""The spec of sample data: the way from arrays that are there to a spec that is written down."""

from collections.abc import Mapping, Sequence

from rlmodule_specs.explain import field_names
from rlmodule_specs.frameworks import framework_of, read_tensor
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import DEEPEST, Key, Node, SpecDict
from rlmodule_specs.wording import join, safe_repr

__all__ = ["infer"]


def infer(data: object, *, leading: Sequence[str] = ("b",)) -> Node:
    """The spec that the data satisfies: the leading axes by name, the others by size.

    Mappings, dataclass instances, named tuples, and tuples and lists of tensors become keys; anything else
    its class.

    >>> infer({"name": "x", "steps": 3})
    SpecDict({'name': str, 'steps': int})
    """
    if isinstance(leading, str):
        raise ValueError(f"leading is a list of names: write [{leading!r}]")
    return _node(data, tuple(leading), "", 0)


def _node(data: object, leading: tuple[str, ...], path: str, depth: int) -> Node:
    if depth > DEEPEST:
        raise ValueError(
            f"{path[:60]}... the data is nested deeper than {DEEPEST} levels, or contains itself"
        )
    facts = read_tensor(data)
    if facts is not None:
        sizes = [str(size) if size else "_" for size in facts.shape or ()]
        shape = "..." if facts.shape is None else ", ".join([*leading[: len(sizes)], *sizes[len(leading) :]])
        return TensorSpec(shape, dtype=facts.dtype, framework=facts.framework)
    parts = _parts(data, path)
    if parts is None:
        return (type(data),)
    return SpecDict({key: _node(value, leading, join(path, key), depth + 1) for key, value in parts.items()})


def _parts(data: object, path: str) -> dict[Key, object] | None:
    if isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, (str, int)):
                raise ValueError(f"{path or '(root)'}: {safe_repr(key)} cannot be a key of a spec")
        return dict(data)
    names = field_names(data)
    if names is not None:
        return {name: getattr(data, name) for name in names}
    if isinstance(data, (tuple, list)) and data and all(map(_has_tensors, data)):
        return dict(enumerate(data))
    return None


def _has_tensors(value: object) -> bool:
    return (
        framework_of(value) is not None
        or isinstance(value, (Mapping, tuple, list))
        or bool(field_names(value))
    )
