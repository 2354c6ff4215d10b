"""`TensorSpec`: what one tensor must be. Immutable, hashable, comparable, printed as it is written."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, SupportsIndex, cast

from rlmodule_specs.dtypes import parse_dtype
from rlmodule_specs.frameworks import FRAMEWORKS, Framework
from rlmodule_specs.shape import Axis, names_in, parse_shape, parse_sizes
from rlmodule_specs.wording import suggestion

if TYPE_CHECKING:
    from rlmodule_specs.tree import SpecType

__all__ = ["JaxTensorSpec", "NumpyTensorSpec", "Spec", "TensorSpec", "TfTensorSpec", "TorchTensorSpec"]

ALIASES = {"tensorflow": "tf", "tf2": "tf", "pytorch": "torch", "np": "numpy", "jnp": "jax"}


class Spec:
    """What every spec has: it makes data, and it never changes."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(
            f"{type(self).__name__} is immutable: make a new one instead of setting {name!r}"
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is immutable: {name!r} cannot be deleted")

    def fill(self, value: object = 0, /, **sizes: int) -> object:
        """Data that satisfies the spec: one value, 1 where a name has no size, no axis for `...`."""
        from rlmodule_specs.make import fill  # it builds on this module

        return fill(cast("SpecType", self), value, **sizes)

    def sample(self, seed: int = 0, /, **sizes: int) -> object:
        """Random data that satisfies the spec: one seed, one result, in every framework."""
        from rlmodule_specs.make import sample

        return sample(cast("SpecType", self), seed, **sizes)


class TensorSpec(Spec):
    """The shape of a tensor and, where given, its dtype and framework.

    >>> TensorSpec("b,h", h=10, dtype="float32")
    TensorSpec('b, h', h=10, dtype='float32')
    >>> TensorSpec("b, h", h=10).axes
    ('b', 'h')
    """

    __slots__ = ("axes", "classes", "dtype", "framework", "high", "low", "sizes")

    axes: tuple[Axis, ...]
    sizes: Mapping[str, int]  # by keyword: bound for the whole check
    dtype: str | None
    framework: Framework | None
    low: float | None  # of the values, compared only on request; so are high and classes
    high: float | None
    classes: int | None

    def __init__(
        self,
        /,
        shape: str,
        *,
        dtype: object = None,
        framework: str | None = None,
        **sizes: SupportsIndex,
    ) -> None:
        axes = parse_shape(shape)
        self._set(
            axes=axes,
            sizes=MappingProxyType(parse_sizes(sizes, axes)),
            dtype=None if dtype is None else parse_dtype(dtype),
            framework=None if framework is None else _parse_framework(framework),
            low=None,
            high=None,
            classes=None,
        )

    def _set(self, **fields: object) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> str:
        """The shape as it is written: `'b, h'`."""
        return ", ".join(map(str, self.axes))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the shape, each once, in order."""
        return names_in(self.axes)

    @property
    def limits(self) -> tuple[float, float] | None:
        """The lowest and the highest value that are allowed; None where any is.

        >>> TensorSpec("b").within(low=0).limits, TensorSpec("b").one_of(5).limits
        ((0, inf), (0, 4))
        """
        if self.low is None and self.high is None and self.classes is None:
            return None
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return (low, high) if self.classes is None else (max(low, 0), min(high, self.classes - 1))

    def within(self, low: float | None = None, high: float | None = None) -> Self:
        """The same spec with low <= value <= high, compared where a check asks for values.

        >>> TensorSpec("b").within(-1, 1)
        TensorSpec('b').within(-1, 1)
        """
        for limit in (low, high):
            if limit is not None and not (isinstance(limit, (int, float)) and limit == limit):
                raise ValueError(f"a limit is an int or a float, got {limit!r}")
        if low is None and high is None:
            raise ValueError("within() needs a low or a high limit")
        if low is not None and high is not None and low > high:
            raise ValueError(f"within({low}, {high}): the low limit is above the high one")
        return self._with(low=low, high=high)

    def one_of(self, classes: SupportsIndex) -> Self:
        """The same spec for class numbers: 0 <= value < classes, compared where a check asks for values.

        >>> TensorSpec("b", dtype="int64").one_of(5)
        TensorSpec('b', dtype='int64').one_of(5)
        """
        number = parse_sizes({"n": classes}, ("n",))["n"]
        return self._with(classes=number)

    def with_axes(self, axes: tuple[Axis, ...]) -> Self:
        """The same spec with other axes; a size given by keyword stays with its name."""
        return self._with(axes=parse_shape(", ".join(map(str, axes))))

    def _with(self, **changed: object) -> Self:
        copy = object.__new__(type(self))
        copy._set(**{name: changed.get(name, getattr(self, name)) for name in TensorSpec.__slots__})
        return copy

    @property
    def _content(self) -> tuple[object, ...]:
        sizes = tuple(self.sizes.items())
        return (self.axes, sizes, self.dtype, self.framework, self.low, self.high, self.classes)

    def __eq__(self, other: object) -> bool:
        return self._content == other._content if isinstance(other, TensorSpec) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content)

    def __reduce__(self) -> tuple[object, ...]:
        fields = {name: getattr(self, name) for name in TensorSpec.__slots__}
        return _rebuild, (type(self), {**fields, "sizes": dict(self.sizes)})

    def __repr__(self) -> str:
        arguments = [repr(self.shape), *(f"{name}={size}" for name, size in self.sizes.items())]
        if self.dtype is not None:
            arguments.append(f"dtype={self.dtype!r}")
        if self.framework is not None and type(self) is TensorSpec:
            arguments.append(f"framework={self.framework!r}")
        text = f"{type(self).__name__}({', '.join(arguments)})"
        if self.low is not None or self.high is not None:
            text += f".within({self.low!r}, {self.high!r})"
        return text if self.classes is None else f"{text}.one_of({self.classes})"


def _rebuild(cls: type[TensorSpec], fields: dict[str, Any]) -> TensorSpec:
    spec = object.__new__(cls)
    spec._set(**{**fields, "sizes": MappingProxyType(fields["sizes"])})
    return spec


def _parse_framework(name: str) -> Framework:
    for framework in FRAMEWORKS:
        if name == framework:
            return framework
    if isinstance(name, str) and name in ALIASES:
        raise ValueError(f"unknown framework {name!r}: write {ALIASES[name]!r}")
    raise ValueError(f"unknown framework {name!r}: {suggestion(str(name), FRAMEWORKS)}")


class _Framed(TensorSpec):
    """A TensorSpec whose framework is said by its class."""

    __slots__ = ()

    of: ClassVar[Framework]

    def __init__(self, /, shape: str, *, dtype: object = None, **sizes: SupportsIndex) -> None:
        super().__init__(shape, dtype=dtype, framework=self.of, **sizes)


class TorchTensorSpec(_Framed):
    """A `torch.Tensor`; a parameter is one too."""

    __slots__ = ()
    of = "torch"


class TfTensorSpec(_Framed):
    """A `tf.Tensor` or `tf.Variable`."""

    __slots__ = ()
    of = "tf"


class NumpyTensorSpec(_Framed):
    """A `numpy.ndarray` or a NumPy scalar."""

    __slots__ = ()
    of = "numpy"


class JaxTensorSpec(_Framed):
    """A `jax.Array`."""

    __slots__ = ()
    of = "jax"
