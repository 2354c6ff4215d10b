"""What the distributions of every framework share: inputs, settings, and the joining of parts.

A parametric distribution is its flat `inputs` `[*batch, n]`, which may carry a gradient, and its
settings, which are static: numbers, and tuples of them, that come from the space.
"""

from __future__ import annotations

import abc
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any, ClassVar, Generic, Never, Self, TypeVar

import gymnasium as gym

from rlmodule_core.distribution import Distribution
from rlmodule_core.distribution_config import (
    DistributionConfig,
    DistributionKind,
    distribution_config,
    leaf_settings,
)
from rlmodule_core.distribution_numbers import last_size
from rlmodule_core.nest import Nest, leaves, map_nest, matching_leaves, unflatten

Tensor = TypeVar("Tensor")
Classes = Mapping[str, Callable[..., Distribution[Any]]]
"""The distribution classes of one framework, by kind."""


@dataclass(frozen=True)
class DistributionMaker(Generic[Tensor]):
    """A function from `inputs` to a distribution; unlike a closure it can be pickled and compared."""

    made: Callable[..., Distribution[Tensor]]  # the class
    input_dim: int
    settings: Mapping[str, Any]

    def __call__(self, inputs: Tensor) -> Distribution[Tensor]:
        """Return the distribution. Raises ValueError if the last axis is not `input_dim`."""
        require_inputs(self.made, inputs, self.input_dim)
        return self.made(inputs, **self.settings)


def distribution_maker(config: DistributionConfig, classes: Classes) -> DistributionMaker[Any]:
    """Return the function that makes what `config` describes, of the classes of one framework.

    Raises ValueError if the config contradicts itself.
    """
    made = classes[config.kind]
    if config.kind == "MultiDistribution":
        parts = map_nest(lambda part: distribution_maker(part, classes), config.parts)
        size, settings = sum(part.input_dim for part in leaves(parts)), {"parts": parts}
    else:
        size, settings = leaf_settings(config.kind, config.space)
    if size != config.input_dim:
        raise ValueError(
            f"DistributionConfig: {config.kind} over {config.space} takes {size} inputs, "
            f"but input_dim is {config.input_dim}"
        )
    return DistributionMaker(made, size, settings)


def require_inputs(made: Any, inputs: Any, size: int) -> None:
    """Raise ValueError unless the last axis of `inputs` is `size`; what a graph does not know passes."""
    found = last_size(inputs)
    if found != size and found is not None:
        raise _wrong_inputs(made, size, inputs)


def halved_event_shape(made: Any, inputs: Any, event_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of a value with two inputs for each of its components.

    Raises ValueError for inputs that are not twice as many as the components, as `require_inputs`.
    """
    found = last_size(inputs)
    if event_shape is None:
        if not found or found % 2:
            raise _wrong_inputs(made, "2 n", inputs)
        return (found // 2,)
    if found is not None and found != 2 * math.prod(event_shape):
        raise _wrong_inputs(made, 2 * math.prod(event_shape), inputs)
    return event_shape


def _wrong_inputs(made: Any, size: object, inputs: Any) -> ValueError:
    found = list(inputs.shape) if hasattr(inputs, "shape") else type(inputs).__name__
    return ValueError(
        f"{getattr(made, '__name__', made)}: expected inputs of shape [..., {size}], got {found}"
    )


class ParametricDistribution(Distribution[Tensor]):
    """A distribution made of flat inputs and of settings."""

    kind: ClassVar[DistributionKind]

    _tensor: ClassVar[type]
    _wanted: ClassVar[str] = "a tensor"
    _made: ClassVar[str]  # the code that makes tensors: of what, and where
    _joined: ClassVar[str]  # the code that makes one tensor of means and log-stds

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """Make one from its flat parameters; without a space the settings have their defaults.

        Raises ValueError if the distribution is not over such a space, or for a wrong number of inputs.
        """
        if space is None:
            return cls(inputs)  # type: ignore[call-arg]  # as every class below takes them
        size, settings = leaf_settings(cls.kind, space)
        require_inputs(cls, inputs, size)
        return cls(inputs, **settings)  # type: ignore[call-arg]

    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments: static, and comparable with `==`."""
        return {}

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return the same kind of distribution over the same values, with other parameters."""
        own: Any = self.inputs
        require_inputs(type(self), inputs, own.shape[-1])
        return type(self)(inputs, **self.settings())  # type: ignore[call-arg]

    def _require_kin(self, other: Distribution[Tensor]) -> None:
        """Raise TypeError or ValueError unless a KL divergence between the two means something."""
        if not isinstance(other, ParametricDistribution) or other.kind != self.kind:
            raise TypeError(f"kl: expected another {type(self).__name__}, got {type(other).__name__}")
        if other.settings() != self.settings():
            raise ValueError(
                f"kl: both must be over the same values, got {self.settings()} and {other.settings()}"
            )
        own, theirs = last_size(self.inputs), last_size(other.inputs)
        if own != theirs and None not in (own, theirs):
            raise ValueError(f"kl: both must be over the same values, got {own} and {theirs} inputs for one")

    @classmethod
    def _is_tensor(cls, value: object) -> bool:
        return isinstance(value, cls._tensor)

    @classmethod
    def _no_tensors(cls, inputs: Nest) -> list[object]:
        """Return what is no tensor of the inputs, which are a nest of them only where they are the value."""
        each = leaves(inputs) if cls.kind == "Deterministic" else [inputs]
        return [value for value in each if not cls._is_tensor(value)]

    def _require_alone(self, inputs: Nest, more: tuple[object, ...]) -> None:
        """Raise TypeError unless the inputs are tensors, with nothing behind them."""
        name = type(self).__name__
        if wrong := self._no_tensors(inputs):
            made = self._made.format("inputs", "module")
            raise TypeError(f"{name}: expected {self._wanted}, got {_class_of(wrong[0])}; {made} makes one")
        if not more:
            return
        if self.kind.endswith("Gaussian") and self._is_tensor(more[0]):
            instead = f"means and log-stds are one tensor here: {name}({self._joined})"
        else:
            taken = inspect.signature(type(self)).parameters.values()
            settings = ", ".join(one.name for one in taken if one.kind is one.KEYWORD_ONLY)
            instead = f"give settings ({settings}) by name"
        raise TypeError(
            f"{name}: expected its inputs as the only positional argument, got {1 + len(more)}; {instead}"
        )

    def _no_tensor(self, value: object) -> TypeError:
        """The error for a value that is no tensor."""
        made = self._made.format("value", "distribution.inputs")
        return TypeError(
            f"{type(self).__name__}.logp: expected a tensor, got {_class_of(value)}; {made} makes one"
        )

    def _no_class(self, dtype: object) -> ValueError:
        """The error for values that are no whole numbers by their dtype: they would be cut off."""
        return ValueError(
            f"{type(self).__name__}.logp: expected values of an integer dtype, got {dtype}; they number "
            "classes, so give them as integers where they are made, or convert them knowingly"
        )

    def _misfit(self, expected: object, found: object) -> ValueError:
        """The error for a value of a wrong shape."""
        shapes = f"expected values of shape {_listed(expected)}, got {_listed(found)}"
        return ValueError(f"{type(self).__name__}.logp: {shapes}")


class MultiDistribution(ParametricDistribution[Tensor]):
    """Independent parts; a value is a nest, like a sample of the Dict or Tuple space.

    The inputs of the parts stand one after the other, dict keys sorted, so that the order in which
    a space names its keys makes no difference.
    """

    kind = "MultiDistribution"

    def __init__(self, inputs: Tensor, *more: Never, parts: Nest) -> None:
        if more or not isinstance(inputs, self._tensor):
            self._require_alone(inputs, more)
        self.inputs = inputs
        self.parts = parts  # a nest of DistributionMakers

    @classmethod
    @abc.abstractmethod
    def _classes(cls) -> Classes: ...

    @abc.abstractmethod
    def _split(self, inputs: Tensor, sizes: list[int]) -> list[Tensor]:
        """Cut the last axis into pieces of these sizes."""

    @classmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """`space` is the Dict or Tuple; its parts get their default distributions.

        Raises ValueError without one, or for a wrong number of inputs.
        """
        if space is None:
            raise ValueError(f"{cls.__name__}.from_inputs needs the space, whose parts it follows")
        config = distribution_config(space)
        if config.kind != cls.kind:
            raise ValueError(f"{cls.__name__}: expected a Dict or Tuple space, got {space}")
        maker = distribution_maker(config, cls._classes())
        require_inputs(cls, inputs, maker.input_dim)
        return cls(inputs, **maker.settings)

    def settings(self) -> dict[str, Any]:
        """Return the makers of the parts."""
        return {"parts": self.parts}

    @cached_property
    def each(self) -> list[Distribution[Tensor]]:
        """The distributions of the parts, dict keys sorted."""
        makers = leaves(self.parts)
        pieces = self._split(self.inputs, [maker.input_dim for maker in makers])
        return [maker(piece) for maker, piece in zip(makers, pieces, strict=True)]

    def sample(self) -> Nest:
        """Draw a nest of values, each `[*batch, *event]` of its own."""
        return self._nested([part.sample() for part in self.each])

    def rsample(self) -> Nest:
        """Draw with gradient; NotImplementedError if a part is discrete."""
        return self._nested([part.rsample() for part in self.each])

    def logp(self, value: Nest) -> Tensor:
        """Return `[*batch]`, summed over the parts. ValueError if `value` is nested differently."""
        values = matching_leaves(self.parts, value)
        return _sum([part.logp(leaf) for part, leaf in zip(self.each, values, strict=True)])

    def entropy(self) -> Tensor:
        """Return `[*batch]`, summed over the parts."""
        return _sum([part.entropy() for part in self.each])

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), `[*batch]`, summed over the parts."""
        self._require_kin(other)
        return _sum([part.kl(theirs) for part, theirs in zip(self.each, other.each, strict=True)])

    def _nested(self, flat: list[Any]) -> Nest:
        return unflatten(self.parts, flat)

    def _modes(self) -> Nest:
        """The mode of each part."""
        return self._nested([part.to_deterministic().sample() for part in self.each])

    def _numpy_parts(self) -> Nest | None:
        """Return the makers of the parts' NumPy forms, or None if a part has none."""
        forms = [part.to_numpy() for part in self.each]
        makers = [
            DistributionMaker(type(form), maker.input_dim, form.settings())
            for form, maker in zip(forms, leaves(self.parts), strict=True)
            if isinstance(form, ParametricDistribution)
        ]
        return self._nested(makers) if len(makers) == len(forms) else None


def _sum(terms: list[Tensor]) -> Tensor:
    total: Tensor = reduce(add, terms)
    return total


def _class_of(value: object) -> str:
    """Return the name of its class, with the module of what is not built in."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _listed(shape: Any) -> list[int | None]:
    return list(shape)
