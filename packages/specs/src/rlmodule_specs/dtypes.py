"""Dtypes by canonical name: "float32" is the same in every framework.

A dtype object of a framework is recognised by the module of its class; no framework is imported.
"""

import re
import sys

from rlmodule_specs.wording import suggestion

__all__ = ["dtype_name", "native_dtype", "parse_dtype"]

KNOWN = (
    *("bool", "bfloat16", "float16", "float32", "float64", "float128"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64, 1, 2, 3, 4, 5, 6, 7)),
    *("complex32", "complex64", "complex128", "complex256"),
    *("float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn", "float4_e2m1fn_x2"),
    *("qint8", "qint16", "qint32", "quint8", "quint16", "object", "string", "str", "bytes"),
)
PARAMETRIC = r"(datetime64|timedelta64)(\[.+\])?|(str|bytes|void)[0-9]+|StringDType.*"
AMBIGUOUS = {
    "float": "'float32' or 'float64'",
    "int": "'int32' or 'int64'",
    "double": "'float64'",
    "half": "'float16'",
    "long": "'int64'",
    "complex": "'complex64' or 'complex128'",
}
HAVE_DTYPES = ("torch", "numpy", "tensorflow")  # those of JAX and ml_dtypes are NumPy's


def parse_dtype(dtype: object) -> str:
    """The canonical name of a dtype that a user wrote, as a name or as a framework's object.

    >>> parse_dtype("float32"), parse_dtype(bool)
    ('float32', 'bool')
    """
    text = dtype.__name__ if isinstance(dtype, type) and dtype in (bool, int, float, complex) else dtype
    if isinstance(text, str):
        if text in AMBIGUOUS:
            raise ValueError(f"dtype {text!r} is not the same in every framework: write {AMBIGUOUS[text]}")
        if text not in KNOWN and not re.fullmatch(PARAMETRIC, text):
            raise ValueError(f"unknown dtype {text!r}: {suggestion(text, KNOWN)}")
        return text
    name = dtype_name(dtype)
    if name is None:
        raise ValueError(f"dtype must be a name such as 'float32' or a framework's dtype, got {dtype!r}")
    return name


def dtype_name(dtype: object) -> str | None:
    """The canonical name of a framework's dtype object, None where it is none."""
    if isinstance(dtype, type):
        return _name_of_scalar_class(dtype) or dtype_name(
            getattr(dtype, "dtype", None)
        )  # jnp.float32 holds it
    cls = type(dtype)
    root = cls.__module__.partition(".")[0]
    if root not in HAVE_DTYPES or "dtype" not in cls.__name__.lower():
        return None
    if root == "torch":
        return str(dtype).removeprefix("torch.")
    return str(getattr(dtype, "name", dtype)).removesuffix("_ref")


def _name_of_scalar_class(scalar: type) -> str | None:
    numpy = sys.modules.get("numpy")
    if numpy is None or not issubclass(scalar, getattr(numpy, "generic", ())):
        return None
    try:
        return str(numpy.dtype(scalar).name)
    except TypeError:  # an abstract class such as np.floating
        return None


def native_dtype(framework: str, name: str) -> object | None:
    """The dtype object that tensors of a loaded framework carry, None where it has none of that name."""
    module = {"torch": "torch", "tf": "tensorflow"}.get(framework)
    found = getattr(sys.modules.get(module), name, None) if module else _numpy_dtype(name)
    return found if dtype_name(found) == name else None


def _numpy_dtype(name: str) -> object | None:
    numpy, extra = sys.modules.get("numpy"), sys.modules.get("ml_dtypes")
    if numpy is None:
        return None
    try:
        dtype: object = numpy.dtype(getattr(extra, name, name))
    except TypeError:
        return None
    return dtype
