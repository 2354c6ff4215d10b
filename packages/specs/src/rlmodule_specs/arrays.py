"""Tensors of each framework, made from plain numbers; the framework is imported for that."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from rlmodule_specs.dtypes import native_dtype
from rlmodule_specs.elements import DEFAULT_DTYPE, kind
from rlmodule_specs.tensor_spec import TensorSpec

__all__ = ["filled", "of_values"]

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
    make = module.tensor if framework == "torch" else module.asarray
    return make(values, dtype=dtype).reshape(shape)


def _target(spec: TensorSpec) -> tuple[str, ModuleType, object]:
    """The framework of a spec, its module of functions, and the dtype object."""
    kind(spec)  # refuses dtypes whose values are no numbers
    framework = spec.framework or _any_framework()
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


def _any_framework() -> str:
    return next((name for name in MODULES if find_spec(MODULES[name].partition(".")[0])), "numpy")
