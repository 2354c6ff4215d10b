"""What a value is: its framework, its dtype's name, its shape. No framework is ever imported.

A framework that is not in `sys.modules` cannot have made the value. Compiled checks trust exact classes only,
those of `trusted`; any other class, a subclass included, is read here.
"""

import sys
from operator import attrgetter
from typing import Literal, NamedTuple

from rlmodule_specs.dtypes import dtype_name, native_dtype

__all__ = [
    "FRAMEWORKS",
    "Framework",
    "TensorFacts",
    "eager_readers",
    "framework_of",
    "learn",
    "link",
    "read_tensor",
    "trusted",
]

Framework = Literal["torch", "tf", "numpy", "jax"]
FRAMEWORKS: tuple[Framework, ...] = ("torch", "tf", "numpy", "jax")
BASES: dict[Framework, tuple[str, tuple[str, ...]]] = {  # the public classes whose instances are tensors
    "numpy": ("numpy", ("ndarray", "generic")),
    "torch": ("torch", ("Tensor",)),
    "tf": ("tensorflow", ("Tensor", "Variable")),
    "jax": ("jax", ("Array",)),
}
LINKED: tuple[tuple[str, str, Framework], ...] = (  # those whose instances are compared without a closer look
    ("numpy", "ndarray", "numpy"),
    ("torch", "Tensor", "torch"),
    ("torch.nn", "Parameter", "torch"),
)
LEARNED = ("EagerTensor", "ArrayImpl")  # without a public name: taken from the first value
READERS = attrgetter("__internal__.EagerTensor._shape_tuple", "__internal__.EagerTensor._datatype_enum")
NUMBER = attrgetter("as_datatype_enum")

_trusted: dict[type, Framework] = {}


class TensorFacts(NamedTuple):
    """What a check compares. `shape` is None where the rank is unknown, a size is None where it is."""

    framework: Framework
    dtype: str
    shape: tuple[int | None, ...] | None


def _classes(module: str, names: tuple[str, ...]) -> tuple[type, ...]:
    loaded = sys.modules.get(module)
    found = (getattr(loaded, name, None) for name in names)
    return tuple(cls for cls in found if isinstance(cls, type))


def framework_of(value: object) -> Framework | None:
    """The framework whose tensor, variable, parameter or scalar the value is."""
    known = _trusted.get(type(value))
    if known is not None:
        return known
    for framework, (module, names) in BASES.items():
        if module in sys.modules and isinstance(value, _classes(module, names)):
            return framework
    return None


def read_tensor(value: object) -> TensorFacts | None:
    """The facts of a tensor, None for anything else. What the value's own code raises comes through."""
    framework = framework_of(value)
    if framework is None:
        return None
    dtype, shape = getattr(value, "dtype"), getattr(value, "shape")  # noqa: B009 - `object` has neither
    name = dtype_name(dtype) or str(dtype)
    if framework == "tf" and shape.rank is None:
        return TensorFacts(framework, name, None)
    return TensorFacts(framework, name, tuple(shape))


def eager_readers(dtype: str | None) -> tuple[object, ...]:
    """What reads the shape and the dtype's number of an eager tensor; the number. () where there is none.

    Both are in C and refuse other classes; `tensor.shape` is slow where it is asked first.
    """
    try:
        return *READERS(sys.modules.get("tensorflow")), dtype and NUMBER(native_dtype("tf", dtype))
    except AttributeError:
        return ()


_tables: dict[tuple[Framework | None, str | None], dict[type, object]] = {}


def trusted(framework: Framework | None, dtype: str | None) -> dict[type, object]:
    """The table {exact class: its dtype object} that compiled checks accept; it grows as classes are met."""
    key = (framework, dtype)
    if key not in _tables:
        table = _tables[key] = {}
        for cls, owner in _trusted.items():
            _enter(table, key, cls, owner)
    return _tables[key]


def _enter(
    table: dict[type, object], key: tuple[Framework | None, str | None], cls: type, owner: Framework
) -> None:
    framework, dtype = key
    native = native_dtype(owner, dtype) if dtype is not None else None
    if framework in (None, owner) and (dtype is None or native is not None):
        table[cls] = native


def _trust(cls: type, framework: Framework) -> None:
    _trusted[cls] = framework
    for key, table in _tables.items():
        _enter(table, key, cls, framework)


def link() -> None:
    """Trust the tensor classes of the frameworks that are loaded by now."""
    for module, name, framework in LINKED:
        for cls in _classes(module, (name,)):
            if cls not in _trusted:
                _trust(cls, framework)


def learn(value: object) -> None:
    """Trust the class of an accepted value where only a value shows it, or where it was loaded of late."""
    cls = type(value)
    if cls in _trusted:
        return
    link()
    framework = framework_of(value)
    if cls.__name__ in LEARNED and framework in ("tf", "jax"):
        _trust(cls, framework)
