"""Runtime validation of nested tensors: NumPy, PyTorch, TensorFlow and JAX, one grammar, no dependencies."""

from importlib import import_module
from typing import TYPE_CHECKING

from rlmodule_specs.__about__ import __version__
from rlmodule_specs.checker import CallChecker, Checker, check
from rlmodule_specs.decorators import check_input_specs, check_output_specs
from rlmodule_specs.errors import Problem, SpecError
from rlmodule_specs.switching import checks, switch
from rlmodule_specs.tensor_spec import (
    JaxTensorSpec,
    NumpyTensorSpec,
    TensorSpec,
    TfTensorSpec,
    TorchTensorSpec,
)
from rlmodule_specs.tree import SpecDict, SpecType, canonical

if TYPE_CHECKING:
    from rlmodule_specs.axes import batched, with_time
    from rlmodule_specs.compare import Change, diff
    from rlmodule_specs.function import checked
    from rlmodule_specs.inference import infer
    from rlmodule_specs.make import fill, sample
    from rlmodule_specs.serialize import from_json, to_json

__all__ = [
    "CallChecker",
    "Change",
    "Checker",
    "JaxTensorSpec",
    "NumpyTensorSpec",
    "Problem",
    "SpecDict",
    "SpecError",
    "SpecType",
    "TensorSpec",
    "TfTensorSpec",
    "TorchTensorSpec",
    "__version__",
    "batched",
    "canonical",
    "check",
    "check_input_specs",
    "check_output_specs",
    "checked",
    "checks",
    "diff",
    "fill",
    "from_json",
    "infer",
    "sample",
    "switch",
    "to_json",
    "with_time",
]

LATER = {  # loaded at first use: they are tools, and the check of a program should not wait for them
    "batched": "axes",
    "with_time": "axes",
    "Change": "compare",
    "diff": "compare",
    "checked": "function",
    "infer": "inference",
    "fill": "make",
    "sample": "make",
    "from_json": "serialize",
    "to_json": "serialize",
}


def __getattr__(name: str) -> object:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{LATER[name]}"), name)
    globals()[name] = found
    return found
