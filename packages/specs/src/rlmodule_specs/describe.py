"""How specs and values read in a message: `torch float32 [b, 64]`."""

from collections.abc import Mapping, Sequence
from itertools import islice

from rlmodule_specs.frameworks import TensorFacts, read_tensor
from rlmodule_specs.shape import Axis
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict
from rlmodule_specs.wording import nearest, safe_repr

__all__ = ["class_name", "describe", "expectation", "limits_text", "missing", "tensor", "trouble"]

NAMED = 5  # keys that a message lists


def class_name(cls: type) -> str:
    """A class as one would import it; builtins by their bare name."""
    name = cls.__qualname__
    return name if cls.__module__ == "builtins" else f"{cls.__module__}.{name}"


def expectation(node: Node, exact: bool = False) -> str:
    """What a node of a spec asks for.

    >>> expectation(TensorSpec("b, h", h=64, dtype="float32", framework="torch"))
    'torch float32 [b, 64]'
    """
    if node is None:
        return "anything"
    if isinstance(node, tuple):
        return " or ".join(class_name(cls) for cls in node)
    if isinstance(node, TensorSpec):
        axes: tuple[Axis, ...] = tuple(node.sizes.get(str(axis), axis) for axis in node.axes)
        return _words(node.framework, node.dtype, ", ".join(map(str, axes)))
    if node and all(isinstance(key, int) for key in node):
        number = max(key for key in node if isinstance(key, int)) + 1
        return f"a sequence of {'' if exact else 'at least '}{_count(number, 'element')}"
    return f"a mapping with {_keys(node)}" if node else "a mapping"


def _words(framework: str | None, dtype: str | None, shape: str) -> str:
    return " ".join(filter(None, (framework, dtype, f"[{shape}]")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _keys(container: Mapping[str | int, object] | SpecDict) -> str:
    shown = [safe_repr(key) for key in islice(container, NAMED + 1)]
    more = ", ..." if len(shown) > NAMED else ""
    return ("key " if len(shown) == 1 else "keys ") + ", ".join(shown[:NAMED]) + more


def tensor(facts: TensorFacts, *, framework: bool = True, dtype: bool = True) -> str:
    """A tensor as it is, or only that of it which a spec asks for.

    >>> tensor(TensorFacts("torch", "float32", (32, 4)))
    'torch float32 [32, 4]'
    """
    sizes = ["..."] if facts.shape is None else ["?" if size is None else str(size) for size in facts.shape]
    return _words(facts.framework if framework else None, facts.dtype if dtype else None, ", ".join(sizes))


def describe(value: object) -> str:
    """Any value, whatever its own code does."""
    try:
        facts = read_tensor(value)
        if facts is not None:
            return tensor(facts)
        if isinstance(value, Mapping):
            return f"a mapping with {_keys(value)}" if len(value) else "an empty mapping"
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return f"a {type(value).__name__} of {_count(len(value), 'element')}"
    except Exception as error:
        return f"{class_name(type(value))}, {trouble(error)}"
    return "None" if value is None else class_name(type(value))


def trouble(error: Exception) -> str:
    """An exception of the data's own code."""
    try:
        text = str(error).split("\n")[0][:80]
    except Exception:
        text = ""
    return f"which raises {type(error).__name__}" + (f": {text}" if text else "")


def limits_text(spec: TensorSpec) -> str:
    """The limits of values as a message ends.

    >>> limits_text(TensorSpec("b").one_of(5))
    ' with values in [0, 4]'
    """
    return "" if spec.limits is None else f" with values in [{spec.limits[0]}, {spec.limits[1]}]"


def missing(key: str | int, present: Sequence[object]) -> str:
    """A key that is not there, with the nearest that is."""
    names = [name for name in present if isinstance(name, str)]
    close = nearest(key, names) if isinstance(key, str) else None
    if close is not None:
        return f"no such key, did you mean {close!r}?"
    if not present:
        return "no such key in an empty mapping"
    more = ", ..." if len(present) > NAMED else ""
    return f"no such key, there are {', '.join(safe_repr(name) for name in present[:NAMED])}{more}"
