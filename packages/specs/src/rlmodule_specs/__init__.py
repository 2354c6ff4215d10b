"""Runtime validation of nested tensors: NumPy, PyTorch, TensorFlow and JAX, one grammar, no dependencies."""

from rlmodule_specs.__about__ import __version__
from rlmodule_specs.axes import batched, with_time
from rlmodule_specs.checker import CallChecker, Checker, check
from rlmodule_specs.compare import Change, diff
from rlmodule_specs.decorators import check_input_specs, check_output_specs
from rlmodule_specs.errors import Problem, SpecError
from rlmodule_specs.function import checked
from rlmodule_specs.infer import infer
from rlmodule_specs.make import fill, sample
from rlmodule_specs.serialize import from_json, to_json
from rlmodule_specs.switch import checks, switch
from rlmodule_specs.tensor_spec import (
    JaxTensorSpec,
    NumpyTensorSpec,
    TensorSpec,
    TfTensorSpec,
    TorchTensorSpec,
)
from rlmodule_specs.tree import SpecDict, SpecType, canonical

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
