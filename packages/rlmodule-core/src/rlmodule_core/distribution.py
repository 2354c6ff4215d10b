"""The contract of action distributions, the same in every framework.

Shapes: the parameters `inputs` are `[*batch, n]`, where `batch` is `[B]` or `[B, T]`; a value is
`[*batch, *event]` with the event shape of the action space; log-probs, entropies and divergences
are `[*batch]`.
"""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Generic, Self, TypeVar

import gymnasium as gym

from rlmodule_specs import SpecError

Tensor = TypeVar("Tensor")


class Distribution(abc.ABC, Generic[Tensor]):
    """Actions given parameters."""

    framework: ClassVar[str | None] = None
    """Whose tensors the class is over ("torch"); one of a user's own need not say."""

    inputs: Tensor
    """The flat parameters, `[*batch, n]`; `from_inputs` of them gives an equal distribution."""

    @classmethod
    @abc.abstractmethod
    def from_inputs(cls, inputs: Tensor, space: gym.Space[Any] | None = None) -> Self:
        """Make one from its flat parameters; `space` gives what they leave open (start, shape)."""

    @abc.abstractmethod
    def sample(self) -> Tensor:
        """Draw one value for each batch entry; carries no gradient."""

    @abc.abstractmethod
    def rsample(self) -> Tensor:
        """Draw with the gradient of the parameters; NotImplementedError where there is none."""

    @abc.abstractmethod
    def logp(self, value: Tensor) -> Tensor:
        """Return the log-probability (or log-density) of `value`."""

    @abc.abstractmethod
    def entropy(self) -> Tensor:
        """Return the entropy in nats."""

    @abc.abstractmethod
    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other) in nats."""

    @abc.abstractmethod
    def to_deterministic(self) -> Distribution[Tensor]:
        """Return the distribution whose every sample is the mode."""

    def with_inputs(self, inputs: Tensor) -> Self:
        """Return the same kind of distribution over the same values, with other parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no flat parameters")

    def to_numpy(self) -> Distribution[Any] | None:
        """Return the same distribution over NumPy arrays, or None if there is none.

        Sampling loops draw from it with a generator of their own, so that every framework draws the
        same actions from the same parameters.
        """
        return None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Keep an override in force, a mixin's too: the NumPy form would not know of it."""
        super().__init_subclass__(**kwargs)
        if any(_depth(cls, name) < _depth(cls, "to_numpy") for name in _IN_NUMPY_TOO):
            cls.to_numpy = Distribution.to_numpy  # type: ignore[method-assign]


class DistributionIn(abc.ABC):
    """Any `Distribution` that modules of one framework may return: its own, or of a class that does not say.

    It has a subclass for each framework, which is for `isinstance` alone. Where time counts our own base
    stands beside it: a check knows what is derived from that without asking.
    """

    framework: ClassVar[str | None] = None
    wanted: ClassVar[str]
    """What such a module returns under `action_dist`, in words."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Whether a class is such a one."""
        return issubclass(other, Distribution) and other.framework in (cls.framework, None)

    @classmethod
    def refused(cls, value: object) -> TypeError:
        """The error for what a module returned instead."""
        found = f"{type(value).__module__}.{type(value).__qualname__}"
        return TypeError(f"action_dist: expected {cls.wanted}, got {found}")


def in_words(error: SpecError, classes: tuple[type, ...]) -> SpecError:
    """Return the error of an output's check with words where it names the classes of an `action_dist`."""
    from rlmodule_specs.describe import expectation  # right outputs need none of it

    wanted, named = getattr(classes[0], "wanted", None), expectation(classes)
    problems = tuple(
        problem._replace(expected=wanted) if wanted and problem.expected == named else problem
        for problem in error.problems
    )
    return SpecError(problems, error.where, error.subject, error.rule)


_IN_NUMPY_TOO = ("sample", "logp", "entropy", "kl", "to_deterministic")


def _depth(cls: type, name: str) -> int:
    """Return how far up the class order a method is defined; 0 is the class itself."""
    return next(depth for depth, base in enumerate(cls.__mro__) if name in vars(base))
