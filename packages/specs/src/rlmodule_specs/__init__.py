"""Runtime validation of nested tensors: NumPy, PyTorch, TensorFlow and JAX, one grammar, no dependencies."""

from rlmodule_specs.__about__ import __version__
from rlmodule_specs.switching import checks, switch

TYPE_CHECKING = False  # type checkers know the name; `typing` itself loads longer than all that is ours
if TYPE_CHECKING:
    from rlmodule_specs.axes import batched, with_time
    from rlmodule_specs.checker import CallChecker, Checker, check
    from rlmodule_specs.compare import Change, diff
    from rlmodule_specs.decorators import check_input_specs, check_output_specs
    from rlmodule_specs.errors import Problem, SpecError
    from rlmodule_specs.function import checked
    from rlmodule_specs.inference import infer
    from rlmodule_specs.make import fill, sample
    from rlmodule_specs.serialize import from_json, to_json
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

LATER = {  # each name is loaded with its module at its first use
    "axes": ("batched", "with_time"),
    "checker": ("CallChecker", "Checker", "check"),
    "compare": ("Change", "diff"),
    "decorators": ("check_input_specs", "check_output_specs"),
    "errors": ("Problem", "SpecError"),
    "function": ("checked",),
    "inference": ("infer",),
    "make": ("fill", "sample"),
    "serialize": ("from_json", "to_json"),
    "tensor_spec": ("JaxTensorSpec", "NumpyTensorSpec", "TensorSpec", "TfTensorSpec", "TorchTensorSpec"),
    "tree": ("SpecDict", "SpecType", "canonical"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in LATER.items():
        if name in names:
            found: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
