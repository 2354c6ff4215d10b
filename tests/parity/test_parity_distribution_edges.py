"""Extreme parameters and draws, the same body for every framework."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces
from scipy import stats

from rlmodule_core.nest import leaves

Array = npt.NDArray[Any]
DTYPES = [np.float32, np.float64]
LOG_TWO_PI = math.log(2 * math.pi)
BOX, WIDE = spaces.Box(-9.0, 9.0, (1,)), spaces.Box(-2.0, 2.0, (1,))
MIXED = spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(1)])


class Extreme(NamedTuple):
    """Parameters of two distributions, a value, and the exact results."""

    space: gym.Space[Any]
    p: list[float]
    q: list[float]
    value: Any
    logp: float
    entropy: float
    kl: float


def normal(z: float, log_std: float) -> float:
    return -0.5 * z * z - log_std - 0.5 * LOG_TWO_PI


LARGE_ENTROPY = 20 + 0.5 * (1 + LOG_TWO_PI)
EXTREMES = {
    "one class above all": Extreme(spaces.Discrete(3), [1e4, -1e4, 0], [0, 0, 0], 1, -2e4, 0, math.log(3)),
    "all classes low": Extreme(spaces.Discrete(3), [-1e4] * 3, [1e4] * 3, 0, -math.log(3), math.log(3), 0),
    "opposite classes": Extreme(spaces.Discrete(2), [1e4, -1e4], [-1e4, 1e4], 0, 0, 0, 2e4),
    "opposite components": Extreme(
        space=spaces.MultiDiscrete([2, 3]),
        p=[1e4, -1e4, 0, 0, 0],
        q=[-1e4, 1e4, 0, 0, 0],
        value=[1, 2],
        logp=-2e4 - math.log(3),
        entropy=math.log(3),
        kl=2e4,
    ),
    "opposite bits": Extreme(spaces.MultiBinary(2), [1e4, -1e4], [-1e4, 1e4], [1, 1], -1e4, 0, 2e4),
    "a nearly sure bit": Extreme(
        space=spaces.MultiBinary(1),
        p=[30],
        q=[30],
        value=[0],
        logp=-30 - math.log1p(math.exp(-30)),
        entropy=30 / (1 + math.exp(30)) + math.log1p(math.exp(-30)),
        kl=0,
    ),
    "a flat normal": Extreme(BOX, [0.5, 20], [0.5, 20], [0.5], normal(0, 20), LARGE_ENTROPY, 0),
    "a sharp normal": Extreme(BOX, [0.5, -20], [0.5, -20], [0.5], normal(0, -20), LARGE_ENTROPY - 40, 0),
    "far from a sharp normal": Extreme(
        BOX, [0, -20], [1, 20], [1e4], normal(1e4 * math.exp(20), -20), LARGE_ENTROPY - 40, 39.5
    ),
    "flat against sharp": Extreme(
        space=BOX,
        p=[0, 20],
        q=[0, -20],
        value=[1e4],
        logp=normal(1e4 * math.exp(-20), 20),
        entropy=LARGE_ENTROPY,
        kl=-40.5 + 0.5 * math.exp(80),
    ),
    "squashed and sharp": Extreme(
        space=WIDE,
        p=[0, -20],
        q=[0, -20],
        value=[0],
        logp=normal(0, -20) - math.log(2),
        entropy=LARGE_ENTROPY - 40 + math.log(2),
        kl=0,
    ),
    "squashed and flat": Extreme(
        space=WIDE,
        p=[0, 20],
        q=[0, 20],
        value=[0],
        logp=normal(0, 20) - math.log(2),
        entropy=LARGE_ENTROPY + 3 * math.log(2) - 2 * math.exp(20) * math.sqrt(2 / math.pi),
        kl=0,
    ),
    "nested": Extreme(MIXED, [1e4, -1e4, -1e4], [-1e4, 1e4, 1e4], (0, [1]), -1e4, 0, 3e4),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_parameters_give_the_exact_results_and_finite_gradients(
    backend: Any, name: str, dtype: Any
) -> None:
    case, squash = EXTREMES[name], "squashed" in name
    p, q = (np.array([x], dtype) for x in (case.p, case.q))
    is_box = isinstance(case.space, spaces.Box)
    if case.space is MIXED:
        value: Any = (np.array([0]), np.array([[1]], np.int8))
    else:
        value = np.array([case.value], dtype if is_box else np.int64)
    distribution, other = (backend.make(case.space, x, squash=squash) for x in (p, q))
    given = backend.tensors(value)

    with np.errstate(divide="raise", invalid="raise"):
        results = distribution.logp(given), distribution.entropy(), distribution.kl(other)
    actual = [backend.arrays(result)[0] for result in results]

    rtol = 0.02 if name == "squashed and flat" else 1e-5 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(actual[0], case.logp, rtol=1e-5 if dtype is np.float32 else 1e-9)
    np.testing.assert_allclose(actual[1:], [case.entropy, case.kl], rtol=rtol, atol=1e-12)
    if backend.name != "numpy":
        for function in (
            lambda x: distribution.with_inputs(x).logp(given),
            lambda x: distribution.with_inputs(x).entropy(),
            lambda x: distribution.with_inputs(x).kl(other),
            lambda x: other.kl(distribution.with_inputs(x)),
        ):
            assert np.isfinite(backend.gradient(function, p)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [0.0, 3.0, -1e4])
def test_at_a_bound_a_squashed_density_is_that_of_the_nearest_number_within(
    backend: Any, dtype: Any, mean: float
) -> None:
    inputs, value = np.array([[mean, 0.5]] * 2, dtype), np.array([[-2.0], [2.0]], dtype)
    p = backend.make(WIDE, inputs, squash=True)

    logp = backend.arrays(p.logp(backend.tensors(value)))

    u = math.atanh(1 - (2.0**-24 if dtype is np.float32 else 2.0**-53))
    slope = 2 * (math.log(2) - u - math.log1p(math.exp(-2 * u))) + math.log(2)
    expected = [normal((x - mean) / math.exp(0.5), 0.5) - slope for x in (-u, u)]
    np.testing.assert_allclose(logp, expected, rtol=1e-5, atol=1e-5)
    if backend.name != "numpy":
        gradient = backend.gradient(lambda x: p.with_inputs(x).logp(backend.tensors(value)), inputs)
        np.testing.assert_allclose(gradient[:, 0], [(x - mean) / math.e for x in (-u, u)], rtol=1e-4)


@pytest.mark.parametrize("log_std", [-3.0, 0.0, 2.0, 6.0])
def test_the_quadrature_of_a_squashed_entropy_keeps_its_word(backend: Any, log_std: float) -> None:
    z = np.linspace(-9, 9, 100_001)
    weights = stats.norm.pdf(z) / stats.norm.pdf(z).sum()
    for mean in (0.0, 1.0, 5.0):
        u = mean + math.exp(log_std) * z
        bend = float((2 * (math.log(2) - u - np.logaddexp(0, -2 * u)) * weights).sum())
        p = backend.make(WIDE, np.array([[mean, log_std]]), squash=True)

        actual = float(backend.arrays(p.entropy())[0]) - log_std - 0.5 * (1 + LOG_TWO_PI) - math.log(2)

        assert actual == pytest.approx(bend, rel=0.02 if log_std > 1 else 1e-12, abs=1e-6)


def test_equal_bounds_leave_the_divergence_of_the_normals(backend: Any) -> None:
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(2, 6, 4))
    box = spaces.Box(np.array([-3.0, 0.0]), np.array([1.0, 9.0]), dtype=np.float64)

    squashed, plain = (
        backend.arrays(backend.make(box, p, squash=squash).kl(backend.make(box, q, squash=squash)))
        for squash in (True, False)
    )

    np.testing.assert_array_equal(squashed, plain)


# --- draws ------------------------------------------------------------------------------------

DRAWS = 20_000
SIGMAS = 4.5  # of a frequency: passed by chance but for 7 in a million


def close(frequency: Any, p: Any) -> bool:
    """Whether frequencies over DRAWS draws agree with probabilities."""
    bound = SIGMAS * np.sqrt(np.asarray(p) * (1 - np.asarray(p)) / DRAWS)
    return bool((np.abs(np.asarray(frequency) - p) <= bound).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_components_and_bits_are_drawn_as_often_as_their_probabilities_say_and_independently(
    backend: Any, dtype: Any
) -> None:
    space = spaces.Tuple([spaces.MultiDiscrete([2, 3], start=[4, -1]), spaces.MultiBinary(2)])
    p, q, bits = np.array([0.3, 0.7]), np.array([0.2, 0.0, 0.8]), np.array([0.1, 0.9])
    with np.errstate(divide="ignore"):
        row = np.concatenate([np.log(p), np.log(q), np.log(bits / (1 - bits))]).astype(dtype)

    drawn, drawn_bits = backend.draw(backend.make(space, np.tile(row, (DRAWS, 1))), seed=1)

    assert drawn.dtype == np.int64
    assert drawn_bits.dtype == np.int8
    together = np.zeros((2, 3))
    np.add.at(together, (drawn[:, 0] - 4, drawn[:, 1] + 1), 1 / DRAWS)
    assert close(together, np.outer(p, q))
    assert close(drawn_bits.mean(axis=0), bits)
    assert close(drawn_bits.prod(axis=1).mean(), bits.prod())


@pytest.mark.parametrize("dtype", DTYPES)
def test_squashed_draws_are_the_map_of_normal_ones_and_stay_within_the_bounds(
    backend: Any, dtype: Any
) -> None:
    low, high = np.array([-0.1, 2.0], np.float32), np.array([0.3, 5.0], np.float32)
    box = spaces.Box(low, high)
    row = np.array([0.4, -0.2, -0.5, 3.0], dtype)

    drawn = backend.draw(backend.make(box, np.tile(row, (DRAWS, 1)), squash=True), seed=2)

    assert drawn.dtype == dtype
    assert (drawn >= low).all()
    assert (drawn <= high).all()
    u = np.arctanh((drawn[:, 0].astype(float) - 0.1) / 0.2)
    assert stats.kstest(u, stats.norm(0.4, math.exp(-0.5)).cdf).pvalue > 1e-4
    middle = np.abs(drawn[:, 1] - 3.5) < 1.5 * math.tanh(1)  # |u| < 1
    normal_u = stats.norm(-0.2, math.exp(3.0))
    assert close(middle.mean(), normal_u.cdf(1) - normal_u.cdf(-1))


def odd_box() -> spaces.Box:
    """Bounds at which a map to them is rounded, to beyond them for some: 0.1 + 0.2 is not 0.3."""
    ends = np.sort(np.random.default_rng(0).normal(size=(2, 200)), axis=0)
    low = np.concatenate([[0.1, -0.1, 0.7, -3e38], ends[0]]).astype(np.float32)
    high = np.concatenate([[0.3, 0.3, 0.9, 3e38], ends[1]]).astype(np.float32)
    return spaces.Box(low, high)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mean", [-1e4, -9.0, 9.0, 1e4])
def test_squashed_values_at_extreme_means_are_within_the_bounds_and_reach_them(
    backend: Any, mean: float, dtype: Any
) -> None:
    box = odd_box()
    rows = np.full((3, 2 * box.shape[0]), mean, dtype)
    rows[:, box.shape[0] :] = -3.0  # the log-stds
    p = backend.make(box, rows, squash=True)
    values = [backend.draw(p, seed=0), backend.arrays(p.to_deterministic().sample())]
    if backend.name != "numpy":
        values.append(backend.arrays(p.rsample()))

    for value in values:
        assert value.dtype == dtype
        assert (value >= box.low).all()
        assert (value <= box.high).all()
        end, other = (box.low, box.high) if mean < 0 else (box.high, box.low)
        assert (np.abs(value / 2 - end / 2) <= 1e-5 * np.abs(end / 2 - other / 2) + 1e-6 * np.abs(end)).all()
    assert np.isfinite(backend.arrays(p.logp(backend.tensors(values[0])))).all()


@pytest.mark.parametrize("bounds", [(0.1, 0.3), (-3e38, 3e38)])
@pytest.mark.parametrize("mean", [-1e4, 1e4])
def test_squashed_values_between_two_bounds_for_all_components_are_within_them(
    backend: Any, mean: float, bounds: tuple[float, float]
) -> None:
    low, high = (np.float32(bound) for bound in bounds)
    p = backend.make(spaces.Box(low, high, (2,)), np.array([[mean, mean, 0.0, 0.0]], np.float32), squash=True)

    drawn = backend.draw(p, seed=0)

    assert drawn.tolist() == [[float(low if mean < 0 else high)] * 2]


def test_a_squashed_value_that_was_not_drawn_last_has_its_own_density(backends: Any) -> None:
    row = np.array([[0.3, -1.0, -0.5, 0.2]] * 5)
    for name in ("torch", "tf"):
        backend = backends[name]
        p = backend.cls("SquashedGaussian")(backend.tensors(row))
        first = p.rsample()
        last = p.rsample()
        other = backend.tensors(np.linspace(-0.9, 0.9, 10).reshape(5, 2))

        for value in (first, other):
            expected = p.with_inputs(p.inputs).logp(value)  # knows of no draw
            np.testing.assert_array_equal(backend.arrays(p.logp(value)), backend.arrays(expected))
        assert not np.allclose(backend.arrays(p.logp(first)), backend.arrays(p.logp(last)))


# --- which draws carry a gradient -------------------------------------------------------------


def test_only_continuous_distributions_have_a_reparametrised_draw(backend: Any) -> None:
    for space in (spaces.Discrete(2), spaces.MultiDiscrete([2]), spaces.MultiBinary(2), MIXED):
        size = 3 if space is MIXED else 2
        with pytest.raises(NotImplementedError, match=r"use sample\(\)"):
            backend.make(space, np.zeros((1, size))).rsample()


def test_a_deterministic_choice_gives_flat_inputs_the_shape_of_the_box(backend: Any) -> None:
    point = backend.cls("Deterministic").from_inputs(
        backend.tensors(np.arange(8.0).reshape(2, 4)), spaces.Box(-1, 1, (2, 2))
    )

    drawn = backend.arrays(point.sample())
    np.testing.assert_array_equal(drawn, np.arange(8.0).reshape(2, 2, 2))
    np.testing.assert_array_equal(point.with_inputs(point.inputs).to_numpy().sample(), drawn)
    with pytest.raises(ValueError, match="Deterministic is no distribution over the values of Discrete"):
        backend.cls("Deterministic").from_inputs(point.inputs, spaces.Discrete(4))


def test_the_mode_of_a_nest_is_the_nest_of_the_modes(backend: Any) -> None:
    space = spaces.Dict({"b": spaces.Discrete(3, start=1), "a": spaces.Tuple([BOX, spaces.MultiBinary(2)])})
    inputs = np.array([[0.25, 0.0, -1.0, 1.0, 0.0, 5.0, 9.0]])

    mode = backend.make(space, inputs).to_deterministic()

    drawn = backend.arrays(mode.sample())
    assert [leaf.tolist() for leaf in leaves(drawn)] == [[[0.25]], [[0, 1]], [3]]
    assert [leaf.tolist() for leaf in leaves(mode.to_numpy().sample())] == [[[0.25]], [[0, 1]], [3]]
