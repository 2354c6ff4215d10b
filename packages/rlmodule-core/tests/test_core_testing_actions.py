"""The conformance suite holds the actions of a module to its action space, of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    Distribution,
    NumpyBernoulli,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyDiagGaussian,
    NumpyMultiCategorical,
    NumpyRLModule,
    NumpySquashedGaussian,
    Output,
    RLModule,
    RLModuleConfig,
    distribution_config,
)
from rlmodule_core.numpy_distributions import numpy_distribution
from rlmodule_core.testing import RLModuleConformance
from rlmodule_specs import TensorSpec, check

OBS = spaces.Box(-1, 1, (3,))
PAIR = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(3, start=1)})
NESTED = spaces.Dict({"turn": spaces.Discrete(3), "arm": spaces.Tuple([spaces.Box(-1, 1, (2,)), PAIR])})
TEST = "test_acting_gives_an_action_distribution"

Make = Callable[[Any], Any]


class Policy(NumpyRLModule):
    """Acts with any distribution, of so many inputs that are linear in the observations."""

    def __init__(self, config: RLModuleConfig, inputs: int, make: Make) -> None:
        super().__init__(config)
        self.w, self.make = np.random.default_rng().normal(size=(3, inputs)), make

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": self.make(batch["obs"] @ self.w)}

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_exploration(batch)

    def get_state(self) -> dict[str, Any]:
        return {"w": self.w}

    def set_state(self, state: Any) -> None:
        raise NotImplementedError


def over(space: gym.Space[Any], inputs: int, make: Make) -> RLModuleConformance:
    """Return the suite for a policy with such a distribution."""

    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            return Policy(RLModuleConfig(observation_space=OBS, action_space=space), inputs, make)

    return Suite()


def default(space: gym.Space[Any], *, squash: bool = False) -> tuple[int, Make]:
    config = distribution_config(space, squash=squash)
    return config.input_dim, numpy_distribution(config)


class Opaque(Distribution[Any]):
    """A user's own kind: what it draws and its mode are functions of the number of rows."""

    def __init__(self, draw: Callable[[int], Any], mode: Callable[[int], Any], rows: int) -> None:
        self.draw, self.mode, self.rows = draw, mode, rows

    @classmethod
    def from_inputs(cls, inputs: Any, space: Any = None) -> Any:
        raise NotImplementedError

    def sample(self) -> Any:
        return self.draw(self.rows)

    def rsample(self) -> Any:
        raise NotImplementedError

    def logp(self, value: Any) -> Any:
        return np.zeros(self.rows)

    def entropy(self) -> Any:
        return np.zeros(self.rows)

    def kl(self, other: Any) -> Any:
        return np.zeros(self.rows)

    def to_deterministic(self) -> Any:
        return NumpyDeterministic(self.mode(self.rows))


def opaque(draw: Callable[[int], Any], mode: Callable[[int], Any] | None = None) -> Make:
    return lambda inputs: Opaque(draw, mode or draw, len(inputs))


def one_in_twenty(rows: int) -> Any:
    """Classes 0 to 2, and rarely 3."""
    rng = np.random.default_rng()
    return np.where(rng.random(rows) < 1 / 20, 3, rng.integers(3, size=rows))


# --- what fits --------------------------------------------------------------------------------


SPACES = [
    spaces.Discrete(3),
    spaces.Discrete(3, start=-5),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiDiscrete(np.array([[2, 3], [4, 1]]), start=np.array([[0, 1], [-2, 7]])),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 3)),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(-np.inf, np.inf, ()),
    spaces.Box(-1, 1, (2, 2), np.float64),
    PAIR,
    NESTED,
    spaces.Tuple([spaces.MultiBinary(2), spaces.Dict({"x": spaces.Box(0, 1, (1,))})]),
]
SOUND: dict[str, tuple[gym.Space[Any], int, Make]] = {
    **{f"the default of {space}": (space, *default(space)) for space in SPACES},
    "squashed": (NESTED, *default(NESTED, squash=True)),
    "squashed to part of an unbounded box": (
        spaces.Box(-np.inf, np.inf, (2,)),
        4,
        lambda inputs: NumpySquashedGaussian(inputs, low=-1.0, high=1.0),
    ),
    "a class that is known": (
        spaces.Discrete(3, start=4),
        3,
        lambda inputs: NumpyDeterministic(inputs.argmax(axis=-1) + 4),
    ),
    "two classes for each bit": (
        spaces.MultiBinary(2),
        4,
        lambda inputs: NumpyMultiCategorical(inputs, sizes=(2, 2)),
    ),
    "a Gaussian for whole numbers, which whoever acts rounds": (
        spaces.Box(0, 255, (2,), np.uint8),
        4,
        NumpyDiagGaussian,
    ),
    "a user's own kind": (spaces.Discrete(4), 1, opaque(one_in_twenty)),
    "words": (
        spaces.Dict({"say": spaces.Text(3), "to": spaces.Discrete(2)}),
        1,
        opaque(lambda rows: {"say": np.full(rows, "yes"), "to": np.zeros(rows, np.int32)}),
    ),
}


@pytest.mark.parametrize("case", SOUND)
def test_actions_of_the_space_are_accepted(case: str) -> None:
    getattr(over(*SOUND[case]), TEST)()


# --- what does not ----------------------------------------------------------------------------


def of_pair(a: int, b: int, start: int = 1) -> tuple[int, Make]:
    return default(spaces.Dict({"a": spaces.Discrete(a), "b": spaces.Discrete(b, start=start)}))


TURNED = spaces.Dict({"turn": spaces.Discrete(3), "arm": spaces.Tuple([PAIR, spaces.Box(-1, 1, (2,))])})
BROKEN: dict[str, tuple[gym.Space[Any], tuple[int, Make], str]] = {
    "a component too many": (
        spaces.Box(-1, 1, (2,)),
        (6, NumpyDiagGaussian),
        r"1 place\n  action: expected floats \[20, 2\], as Box\(.* has them, got float64 \[20, 3\] for draw",
    ),
    "a class for a vector": (
        spaces.Box(-1, 1, (2,)),
        (6, NumpyCategorical),
        r"action: expected floats \[20, 2\], .* got int64 \[20\] for draw 0",
    ),
    "a class for a number": (
        spaces.Box(-1, 1, ()),
        (6, NumpyCategorical),
        r"action: expected floats \[20\], .* got int64 \[20\] for draw 0",
    ),
    "a class for a dict": (
        PAIR,
        (6, NumpyCategorical),
        r"value: expected a mapping with the keys \['a', 'b'\], got ndarray for draw 0",
    ),
    "a logit too many": (
        spaces.Discrete(3),
        (4, NumpyCategorical),
        r"action: expected logits of 3 classes from 0, as Discrete\(3\) has them, got logits of 4 from 0",
    ),
    "a logit too few": (
        spaces.Discrete(3),
        (2, NumpyCategorical),
        r"action: expected logits of 3 classes from 0, .* got logits of 2 from 0",
    ),
    "no start": (
        spaces.Discrete(3, start=2),
        (3, NumpyCategorical),
        r"action: expected logits of 3 classes from 2, .* got logits of 3 from 0",
    ),
    "sizes in another order": (
        spaces.MultiDiscrete([2, 3]),
        (5, lambda inputs: NumpyMultiCategorical(inputs, sizes=(3, 2))),
        r"expected logits of \[2, 3\] classes from \[0, 0\], .* got logits of \[3, 2\] from \[0, 0\]",
    ),
    "another start of one component": (
        spaces.MultiDiscrete([2, 3], start=[0, 5]),
        (5, lambda inputs: NumpyMultiCategorical(inputs, sizes=(2, 3), start=(0, 4))),
        r"classes from \[0, 5\], .* got logits of \[2, 3\] from \[0, 4\]",
    ),
    "one class for several": (
        spaces.MultiDiscrete([3, 3]),
        (3, NumpyCategorical),
        r"expected whole numbers \[20, 2\], .* got int64 \[20\]",
    ),
    "a matrix as a vector": (
        spaces.MultiDiscrete(np.array([[2, 2], [2, 2]])),
        (8, lambda inputs: NumpyMultiCategorical(inputs, sizes=(2, 2, 2, 2))),
        r"expected whole numbers \[20, 2, 2\], .* got int64 \[20, 4\]",
    ),
    "a bit too many": (
        spaces.MultiBinary(3),
        (4, NumpyBernoulli),
        r"expected bits \[20, 3\], as MultiBinary\(3\) has them, got int8 \[20, 4\]",
    ),
    "three classes for a bit": (
        spaces.MultiBinary(2),
        (5, lambda inputs: NumpyMultiCategorical(inputs, sizes=(2, 3))),
        r"expected logits of \[2, 2\] classes .* got logits of \[2, 3\]",
    ),
    "two places of a dict": (
        PAIR,
        of_pair(3, 2),
        r"2 places\n  a: expected logits of 2 .* got logits of 3 from 0\n  b: expected logits of 3 classes "
        r"from 1, as Discrete\(3, start=1\) has them, got logits of 2 from 1\n  distribution_config\(action",
    ),
    "a start inside a dict": (
        PAIR,
        of_pair(2, 3, start=0),
        r"1 place\n  b: expected logits of 3 classes from 1, .* from 0",
    ),
    "another order of a tuple": (
        NESTED,
        default(TURNED),
        r"value.arm\[1\]: expected a mapping with the keys",
    ),
    "a wrong place deep inside": (
        NESTED,
        default(
            spaces.Dict({"turn": spaces.Discrete(3), "arm": spaces.Tuple([spaces.Box(-1, 1, (3,)), PAIR])})
        ),
        r"1 place\n  arm\[0\]: expected floats \[20, 2\], .* got float64 \[20, 3\]",
    ),
    "a key too many": (
        spaces.Dict({"a": spaces.Discrete(2)}),
        default(PAIR),
        r"value: expected a mapping with the keys \['a'\], got one with the keys \['a', 'b'\]",
    ),
    "a class beyond, rarely": (
        spaces.Discrete(3),
        (1, opaque(one_in_twenty)),
        r"action: expected actions of Discrete\(3\), got 3 for ",
    ),
    "a mode without the start": (
        spaces.Discrete(3, start=2),
        (1, opaque(lambda rows: np.full(rows, 2), lambda rows: np.full(rows, 0))),
        r"expected actions of Discrete\(3, start=2\), got 0 for the mode",
    ),
    "classes as floats": (
        spaces.Discrete(3),
        (1, opaque(np.zeros)),
        r"action: expected whole numbers \[20\], .* got float64 \[20\] for draw 0",
    ),
    "half a bit": (
        spaces.MultiBinary(2),
        (1, opaque(lambda rows: np.full((rows, 2), 0.5))),
        r"expected actions of MultiBinary\(2\), got 0.5 for draw 0",
    ),
    "objects": (
        spaces.Tuple([spaces.Discrete(2)]),
        (1, opaque(lambda rows: (np.ones(rows, object),))),
        r"\[0\]: expected whole numbers \[20\], .* got object \[20\] for draw 0",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_action_of_the_space_is_told_with_its_place(case: str) -> None:
    space, policy, words = BROKEN[case]
    with pytest.raises(AssertionError, match=rf"exploration: action_dist is not over[^$]*{words}"):
        getattr(over(space, *policy), TEST)()


def test_a_wrong_number_of_logits_is_seen_whatever_is_drawn() -> None:
    def wide(inputs: Any) -> Any:  # the class too many has a probability of one in a billion
        return NumpyCategorical(np.concatenate([inputs, np.full((len(inputs), 1), -20.0)], axis=-1))

    for _ in range(10):
        with pytest.raises(AssertionError, match=r"logits of 3 classes from 0, .* got logits of 4"):
            getattr(over(spaces.Discrete(3), 3, wide), TEST)()


# --- observations that are wrong inside ---------------------------------------------------------


class Whole(NumpyRLModule):
    """Checked as every module is."""

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(np.zeros((2, 2)))}

    _forward_inference = _forward_exploration

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: Any) -> None:
        raise NotImplementedError


class Shallow(RLModule):
    """A base of a user's own whose forwards look at the column alone, not at what is in it."""

    framework = "numpy"

    def forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        check(batch, self.required())
        return self._forward_train(batch)

    forward_exploration = forward_inference = forward_train

    def required(self) -> Any:
        return ["obs"]

    _forward_exploration = _forward_inference = Whole._forward_exploration
    get_state, set_state = Whole.get_state, Whole.set_state


class Keyed(Shallow):
    """Looks at the parts, not at their sizes."""

    def required(self) -> Any:
        return {"obs": ["arm", "token"]}


class Modest(Keyed):
    """Says that any sizes will do."""

    def input_specs_train(self) -> Any:
        return self.required()

    input_specs_exploration = input_specs_inference = input_specs_train


class Boastful(Modest):
    """Says that sizes matter, but looks at none."""

    def input_specs_inference(self) -> Any:
        return self._input_specs()


OBSERVATIONS = {
    "a dict": spaces.Dict({"arm": spaces.Box(-1, 1, (3,)), "token": spaces.Discrete(4)}),
    "a tuple": spaces.Tuple([spaces.Discrete(4), spaces.Box(-1, 1, (2, 3))]),
    "a tuple in a dict": spaces.Dict(
        {"arm": spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (3,))]), "token": spaces.Discrete(4)}
    ),
}


@pytest.mark.parametrize(
    ("cls", "space", "words"),
    [
        (Shallow, "a dict", "train: a batch with no obs.arm was not refused with SpecError"),
        (Keyed, "a dict", "train: a batch with one number too many in obs.arm was not refused"),
        (Keyed, "a tuple in a dict", r"train: a batch with one number too many in obs.arm\[1\] was not"),
        (Shallow, "a tuple", r"train: a batch with one number too many in obs\[1\] was not refused"),
        (Boastful, "a dict", "inference: a batch with one number too many in obs.arm was not refused"),
    ],
)
def test_observations_that_are_wrong_inside_must_be_refused(cls: Any, space: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        refusing(cls, space)


@pytest.mark.parametrize("cls", [Whole, Modest])
@pytest.mark.parametrize("space", ["a dict", "a tuple in a dict"])
def test_a_module_may_decide_what_it_takes_and_must_refuse_what_its_specs_do(cls: Any, space: str) -> None:
    refusing(cls, space)


def test_a_module_may_take_other_observations_than_its_space_has() -> None:
    class Flat(Whole):
        def _input_specs(self) -> Any:
            return {"obs": TensorSpec("b, 7")}

    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            return Flat(
                RLModuleConfig(observation_space=OBSERVATIONS["a dict"], action_space=spaces.Discrete(2))
            )

        def make_batch(self, module: RLModule, phase: str, rows: int) -> dict[str, Any]:
            return {"obs": np.zeros((rows, 7))}

    Suite().test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call()


def refusing(cls: Any, space: str) -> None:
    class Suite(RLModuleConformance):
        def make_module(self) -> RLModule:
            config = RLModuleConfig(observation_space=OBSERVATIONS[space], action_space=spaces.Discrete(2))
            module: RLModule = cls(config)
            return module

    Suite().test_a_batch_that_lacks_obs_or_has_other_sizes_is_refused_at_every_call()
