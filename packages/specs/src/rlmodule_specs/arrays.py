"""Tensors of each framework, made from plain numbers; the framework is imported for that."""

from importlib import import_module
from random import Random
from types import ModuleType

from rlmodule_specs.dtypes import native_dtype
from rlmodule_specs.tensor_spec import TensorSpec

__all__ = ["bounds", "draw", "filled", "kind", "of_values"]

DEFAULT_DTYPE = "float32"
SPAN = 10  # whole numbers that are drawn where nothing limits them


def kind(spec: TensorSpec) -> type:
    """bool, int, float or complex: the Python type of the values.

    >>> kind(TensorSpec("b", dtype="uint8"))
    <class 'int'>
    """
    dtype = spec.dtype or DEFAULT_DTYPE
    for prefix, found in (("bool", bool), ("int", int), ("uint", int), ("float", float), ("bfloat", float)):
        if dtype.startswith(prefix):
            return found
    if dtype.startswith("complex"):
        return complex
    raise ValueError(f"values of dtype {dtype!r} cannot be made")


def bounds(spec: TensorSpec) -> tuple[int, int]:
    """The lowest and the highest whole number that both the dtype and the limits allow.

    >>> bounds(TensorSpec("b", dtype="int8")), bounds(TensorSpec("b", dtype="int64").one_of(5))
    ((-128, 127), (0, 4))
    >>> bounds(TensorSpec("b", dtype="uint8")), bounds(TensorSpec("b", dtype="int32").within(0.5, 3.5))
    ((0, 255), (1, 3))
    """
    dtype = spec.dtype or DEFAULT_DTYPE
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    least, most = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    low, high = spec.limits or (least, most)
    low, high = max(low, least), min(high, most)
    first, last = -int(-low // 1), int(high // 1)
    if first > last:
        raise ValueError(f"no {dtype} is within {spec.limits}")
    return first, last


def draw(spec: TensorSpec, random: Random) -> complex:
    """One random value that the dtype and the limits allow."""
    values = kind(spec)
    if values is bool:
        return random.random() < 0.5
    if values is int:
        low, high = bounds(spec)
        return random.randint(low, high) if spec.limits else random.randrange(min(SPAN, high + 1))
    if values is complex:
        return complex(random.gauss(0, 1), random.gauss(0, 1))
    low_limit, high_limit = spec.limits or (-1.0, 1.0)
    if low_limit == float("-inf"):
        low_limit = high_limit - 1.0
    if high_limit == float("inf"):
        high_limit = low_limit + 1.0
    return random.uniform(low_limit, high_limit)


MODULES = {"numpy": "numpy", "torch": "torch", "tf": "tensorflow", "jax": "jax.numpy"}
Shape = tuple[int, ...]


def filled(spec: TensorSpec, shape: Shape, value: object) -> object:
    """A tensor that holds one value everywhere."""
    framework, module, dtype = _target(spec)
    if framework == "tf":
        return module.fill(shape, module.cast(value, dtype))
    return module.full(shape, value, dtype=dtype)


def of_values(spec: TensorSpec, shape: Shape, values: list[complex]) -> object:
    """A tensor that holds these values, the last axis first."""
    framework, module, dtype = _target(spec)
    if framework == "tf":
        return module.reshape(module.constant(values, dtype), shape)
    return module.asarray(values, dtype=dtype).reshape(shape)


def _target(spec: TensorSpec) -> tuple[str, ModuleType, object]:
    """The framework of a spec, its module of functions, and the dtype object."""
    kind(spec)  # refuses dtypes whose values are no numbers
    framework = spec.framework or "numpy"
    name = spec.dtype or DEFAULT_DTYPE
    try:
        module = import_module(MODULES[framework])
    except ImportError as error:
        raise ImportError(
            f"making a tensor of {spec!r} needs {MODULES[framework]}, which is not installed"
        ) from error
    dtype = native_dtype(framework, name)
    if dtype is None:
        raise ValueError(f"{framework} has no dtype {name!r}")
    return framework, module, dtype
