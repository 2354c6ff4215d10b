"""NumPy distributions against sums written out by hand and against frequencies."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    DistributionConfig,
    NumpyCategorical,
    NumpyDeterministic,
    NumpyDiagGaussian,
    NumpySquashedGaussian,
    numpy_distribution,
)


def probabilities(logits: Any) -> list[float]:
    """Softmax of one row, literally."""
    weights = [math.exp(logit - max(logits)) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def rows(batch: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, batch)))


@pytest.mark.parametrize("batch", [(), (4,), (3, 2)])
@pytest.mark.parametrize("start", [0, -3, 5])
def test_categorical_logp_entropy_and_kl_are_the_sums_over_classes(
    batch: tuple[int, ...], start: int
) -> None:
    rng = np.random.default_rng(0)
    inputs, others = rng.normal(size=(2, *batch, 5)) * 2
    space = spaces.Discrete(5, start=start)
    p, q = (NumpyCategorical.from_inputs(x, space) for x in (inputs, others))
    value = rng.integers(start, start + 5, size=batch)

    for row in rows(batch):
        here, there = probabilities(inputs[row]), probabilities(others[row])
        chosen = here[int(value[row]) - start]
        assert p.logp(value)[row] == pytest.approx(math.log(chosen))
        assert p.entropy()[row] == pytest.approx(-sum(a * math.log(a) for a in here))
        divergence = sum(a * math.log(a / b) for a, b in zip(here, there, strict=True))
        assert p.kl(q)[row] == pytest.approx(divergence)
    assert p.logp(value).shape == p.entropy().shape == p.kl(q).shape == p.sample().shape == batch


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_categorical_draws_each_class_as_often_as_its_probability_says(dtype: Any) -> None:
    logits = np.log(np.array([0.5, 0.25, 0.2, 0.05])).astype(dtype)
    draws = 40_000
    space = spaces.Discrete(4, start=-2)
    distribution = NumpyCategorical.from_inputs(np.broadcast_to(logits, (draws, 4)), space)

    values = distribution.sample(np.random.default_rng(1))

    assert values.dtype == np.int64
    counts = np.bincount(values + 2, minlength=4)
    for count, p in zip(counts, [0.5, 0.25, 0.2, 0.05], strict=True):
        assert abs(count / draws - p) < 4.5 * math.sqrt(p * (1 - p) / draws)


def test_a_class_of_probability_zero_is_never_drawn_and_adds_nothing() -> None:
    inputs = np.tile(np.array([0.0, -np.inf, 1.0]), (5000, 1))
    p = NumpyCategorical(inputs)

    with np.errstate(all="raise"):
        assert set(np.unique(p.sample(np.random.default_rng(0)))) == {0, 2}
        expected = probabilities([0.0, 1.0])
        assert p.entropy()[0] == pytest.approx(-sum(a * math.log(a) for a in expected))
        assert p.kl(p)[0] == 0.0
        assert p.logp(np.ones(5000, dtype=int))[0] == -np.inf
        assert p.to_deterministic().sample()[0] == 2


class Zeros:
    """A generator at its worst: exponential draws may be exactly 0."""

    def standard_exponential(self, shape: Any, dtype: Any = np.float64) -> Any:
        return np.zeros(shape, dtype)


def test_not_even_an_exponential_draw_of_zero_picks_a_class_of_probability_zero() -> None:
    p = NumpyCategorical(np.array([[-np.inf, 0.0], [0.0, -1e4]], dtype=np.float32))

    with np.errstate(all="raise"):
        drawn = p.sample(Zeros())  # type: ignore[arg-type]

    assert drawn.tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_give_exact_numbers_and_no_warning(dtype: Any) -> None:
    p = NumpyCategorical(np.array([[1e4, -1e4], [1e4, 1e4], [-1e4, -1e4]], dtype=dtype))
    q = NumpyCategorical(np.array([[-1e4, 1e4], [1e4, 1e4], [1e4, 1e4]], dtype=dtype))

    with np.errstate(divide="raise", invalid="raise", over="raise"):
        np.testing.assert_allclose(p.logp(np.array([1, 0, 1])), [-2e4, -math.log(2), -math.log(2)], rtol=1e-6)
        np.testing.assert_allclose(p.entropy(), [0, math.log(2), math.log(2)], atol=1e-6)
        np.testing.assert_allclose(p.kl(q), [2e4, 0, 0], atol=1e-6)
        assert p.sample(np.random.default_rng(0))[0] == 0


def test_a_value_below_the_start_is_refused_where_numpy_would_count_from_the_end() -> None:
    p = NumpyCategorical(np.zeros((2, 3)), start=5)

    with pytest.raises(ValueError, match="the values start at 5, got 4"):
        p.logp(np.array([5, 4]))
    with pytest.raises(IndexError):
        p.logp(np.array([5, 8]))


@pytest.mark.parametrize("batch", [(), (4,), (3, 2)])
@pytest.mark.parametrize("event", [(3,), (2, 2)])
def test_gaussian_logp_entropy_and_kl_are_the_sums_over_components(
    batch: tuple[int, ...], event: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    size = math.prod(event)
    inputs, others = rng.normal(size=(2, *batch, 2 * size))
    space = spaces.Box(-1, 1, event)
    p, q = (NumpyDiagGaussian.from_inputs(x, space) for x in (inputs, others))
    value = rng.normal(size=(*batch, *event))

    for row in rows(batch):
        logp = entropy = divergence = 0.0
        for i in range(size):
            mean, log_std = inputs[row][i], inputs[row][size + i]
            mean_q, log_std_q = others[row][i], others[row][size + i]
            s, s_q, x = math.exp(log_std), math.exp(log_std_q), value[row].ravel()[i]
            logp += math.log(math.exp(-((x - mean) ** 2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi)))
            entropy += 0.5 * math.log(2 * math.pi * math.e * s * s)
            divergence += math.log(s_q / s) + (s * s + (mean - mean_q) ** 2) / (2 * s_q * s_q) - 0.5
        assert p.logp(value)[row] == pytest.approx(logp)
        assert p.entropy()[row] == pytest.approx(entropy)
        assert p.kl(q)[row] == pytest.approx(divergence)
    assert p.sample().shape == p.to_deterministic().sample().shape == (*batch, *event)
    assert p.logp(value).shape == p.entropy().shape == p.kl(q).shape == batch


def test_gaussian_samples_have_the_mean_and_spread_of_their_parameters() -> None:
    draws = 40_000
    inputs = np.tile(np.array([1.0, -2.0, math.log(0.5), math.log(2.0)], np.float32), (draws, 1))

    values = NumpyDiagGaussian(inputs).sample(np.random.default_rng(0))

    assert values.dtype == np.float32
    error = 4.5 * np.array([0.5, 2.0]) / math.sqrt(draws)
    assert (np.abs(values.mean(axis=0) - [1, -2]) < error).all()
    np.testing.assert_allclose(values.std(axis=0), [0.5, 2.0], rtol=0.02)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.03


def test_monte_carlo_agrees_with_entropy_and_kl() -> None:
    draws = 40_000
    p = NumpyDiagGaussian(np.tile([0.3, math.log(0.7)], (draws, 1)))
    q = NumpyDiagGaussian(np.tile([-0.2, math.log(1.1)], (draws, 1)))
    value = p.sample(np.random.default_rng(0))

    assert -p.logp(value).mean() == pytest.approx(p.entropy()[0], abs=0.02)
    assert (p.logp(value) - q.logp(value)).mean() == pytest.approx(p.kl(q)[0], abs=0.02)


def test_the_mode_is_the_mean_and_the_first_of_the_largest_logits() -> None:
    box = spaces.Box(-1, 1, (2, 1))
    gaussian = NumpyDiagGaussian.from_inputs(np.array([[1.0, 2.0, 9.0, 9.0]]), box)
    categorical = NumpyCategorical(np.array([[0.0, 1.0, 1.0]]), start=3)

    assert gaussian.to_deterministic().sample().tolist() == [[[1.0], [2.0]]]
    assert categorical.to_deterministic().sample().tolist() == [4]


def test_the_same_generator_state_draws_the_same_values() -> None:
    p = NumpyCategorical(np.zeros((100, 7)))

    first, second = (p.sample(np.random.default_rng(3)) for _ in range(2))

    assert first.tolist() == second.tolist()
    assert first.tolist() != p.sample().tolist()


def test_with_inputs_keeps_what_the_inputs_leave_open() -> None:
    categorical = NumpyCategorical(np.zeros((1, 2)), start=7).with_inputs(np.array([[0.0, 1.0]]))
    gaussian = NumpyDiagGaussian(np.zeros((1, 8)), event_shape=(2, 2)).with_inputs(np.ones((1, 8)))

    assert categorical.to_deterministic().sample().tolist() == [8]
    assert gaussian.sample().shape == (1, 2, 2)
    assert NumpyDeterministic(np.zeros(1)).with_inputs(np.ones(1)).sample().tolist() == [1.0]


def test_a_point_mass_has_no_logp_entropy_or_kl_and_numpy_no_rsample() -> None:
    point = NumpyDeterministic(np.ones(2))

    assert point.to_deterministic() is point
    for name, arguments in {"logp": (np.ones(2),), "entropy": (), "kl": (point,)}.items():
        with pytest.raises(NotImplementedError, match="a deterministic policy has no"):
            getattr(point, name)(*arguments)
    with pytest.raises(NotImplementedError, match="use sample"):
        point.rsample()


@pytest.mark.parametrize(
    ("kind", "space", "inputs", "expected"),
    [
        ("Categorical", spaces.Discrete(2, start=4), [[0.0, 1.0]], [5]),
        ("DiagGaussian", spaces.Box(-1, 1, (1, 1)), [[0.5, 0.0]], [[[0.5]]]),
        ("Deterministic", spaces.Box(-1, 1, (2,)), [[0.5, 0.0]], [[0.5, 0.0]]),
        ("SquashedGaussian", spaces.Box(-1, 3, (1,)), [[0.0, 0.0]], [[1.0]]),
        ("MultiCategorical", spaces.MultiDiscrete([2, 2], start=[3, 0]), [[0, 1, 1, 0]], [[4, 0]]),
        ("Bernoulli", spaces.MultiBinary((1, 2)), [[0.5, -0.5]], [[[1, 0]]]),
    ],
)
def test_a_config_makes_the_distribution_that_it_describes(
    kind: Any, space: Any, inputs: Any, expected: Any
) -> None:
    make = numpy_distribution(DistributionConfig(kind=kind, space=space, input_dim=len(inputs[0])))
    assert make(np.array(inputs)).to_deterministic().sample().tolist() == expected


def test_a_config_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match=r"over Discrete\(3\) takes 3 inputs, but input_dim is 4"):
        numpy_distribution(DistributionConfig(kind="Categorical", space=spaces.Discrete(3), input_dim=4))
    with pytest.raises(ValueError, match="Bernoulli is no distribution over the values of Discrete"):
        numpy_distribution(DistributionConfig(kind="Bernoulli", space=spaces.Discrete(3), input_dim=3))


def test_a_nested_config_may_choose_each_part_by_itself() -> None:
    box, turn = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)
    parts = {
        "turn": DistributionConfig(kind="Categorical", space=turn, input_dim=2),
        "arm": DistributionConfig(kind="Deterministic", space=box, input_dim=2),
    }
    space = spaces.Dict({"turn": turn, "arm": box})
    config = DistributionConfig(kind="MultiDistribution", space=space, input_dim=4, parts=parts)

    drawn: Any = numpy_distribution(config)(np.array([[0.5, 0.25, 0.0, 99.0]])).sample()

    assert drawn["arm"].tolist() == [[0.5, 0.25]]
    assert drawn["turn"].tolist() == [1]


@pytest.mark.parametrize(
    "bounds",
    [(1.0, 1.0), (0.0, math.inf), (math.nan, 1.0), (2.0, (1.0, 3.0)), ((0.0, 0.0), (1.0, 1.0, 1.0))],
)
def test_bounds_that_are_none_are_refused(bounds: Any) -> None:
    with pytest.raises(ValueError, match="bounds must be finite, with low below high"):
        NumpySquashedGaussian(np.zeros((1, 4)), low=bounds[0], high=bounds[1])


def test_a_numpy_subclass_stays_its_own_numpy_form() -> None:
    class Loaded(NumpyCategorical):
        def _sample(self, rng: np.random.Generator) -> Any:
            return np.zeros(self.inputs.shape[:-1], dtype=np.int64)

        def sample(self, rng: np.random.Generator | None = None) -> Any:
            return self._sample(np.random.default_rng())

    loaded = Loaded(np.zeros((1, 2)))
    assert loaded.to_numpy() is loaded
