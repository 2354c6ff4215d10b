"""The distributions against the NumPy ones of rlmodule_core, in value, gradient and frequency."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import NumpyCategorical, NumpyDeterministic, NumpyDiagGaussian
from rlmodule_tf import (
    TfCategorical,
    TfDeterministic,
    TfDiagGaussian,
    TfNative,
    as_distribution,
)

Array = npt.NDArray[Any]
BATCHES = [(5,), (3, 4)]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- Categorical ------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES)
def test_a_categorical_equals_the_numpy_one(batch: tuple[int, ...]) -> None:
    logits, others = draw(*batch, 6), draw(*batch, 6, seed=1)
    values = np.random.default_rng(2).integers(3, 9, size=batch)
    oracle = NumpyCategorical(logits, start=3)
    actual = TfCategorical(tf.constant(logits), start=3)

    np.testing.assert_allclose(actual.logp(tf.constant(values)), oracle.logp(values), rtol=1e-5)
    np.testing.assert_allclose(actual.entropy(), oracle.entropy(), rtol=1e-5)
    divergence = actual.kl(TfCategorical(tf.constant(others), start=3))
    np.testing.assert_allclose(divergence, oracle.kl(NumpyCategorical(others, start=3)), rtol=1e-4)
    np.testing.assert_array_equal(actual.to_deterministic().inputs, oracle.to_deterministic().inputs)


def test_a_categorical_draws_each_class_as_often_as_its_probability_and_never_a_masked_one() -> None:
    p = np.array([0.5, 0.3, 0.2, 0.0])
    with np.errstate(divide="ignore"):
        logits = np.tile(np.log(p).astype(np.float32), (20_000, 1))
    tf.random.set_seed(0)

    drawn = TfCategorical(tf.constant(logits), start=10).sample()

    assert drawn.dtype == tf.int64
    frequencies = np.bincount(drawn.numpy() - 10, minlength=4) / len(logits)
    np.testing.assert_allclose(frequencies, p, atol=0.015)
    assert frequencies[3] == 0


def test_a_categorical_takes_its_start_from_the_space() -> None:
    made = TfCategorical.from_inputs(tf.constant([[0.0, 9.0]]), spaces.Discrete(2, start=5))

    assert made.to_deterministic().sample().numpy().tolist() == [6]
    assert made.with_inputs(tf.constant([[9.0, 0.0]])).to_deterministic().sample().numpy().tolist() == [5]


@pytest.mark.parametrize("logits", [[1e4, -1e4, 0.0], [0.0, -np.inf, 1.0], [-1e4, -1e4, -1e4]])
def test_extreme_logits_give_finite_values_and_gradients(logits: list[float]) -> None:
    inputs = tf.constant([logits])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        dist = TfCategorical(inputs)
        results = [dist.logp(tf.constant([0])), dist.entropy(), dist.kl(TfCategorical(inputs * 1.0))]

    for result in results:
        assert np.isfinite(result).all()
        assert np.isfinite(np.asarray(tape.gradient(result, inputs))).all()


def test_a_categorical_has_no_reparametrised_sample() -> None:
    with pytest.raises(NotImplementedError, match="use sample"):
        TfCategorical(tf.zeros([1, 2])).rsample()


# --- DiagGaussian -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", BATCHES)
def test_a_gaussian_equals_the_numpy_one_also_over_values_of_rank_2(batch: tuple[int, ...]) -> None:
    inputs, others, values = draw(*batch, 12), draw(*batch, 12, seed=1), draw(*batch, 2, 3, seed=2)
    space = spaces.Box(-1, 1, (2, 3))
    oracle = NumpyDiagGaussian.from_inputs(inputs, space)
    actual = TfDiagGaussian.from_inputs(tf.constant(inputs), space)

    np.testing.assert_allclose(actual.logp(tf.constant(values)), oracle.logp(values), rtol=1e-4)
    np.testing.assert_allclose(actual.entropy(), oracle.entropy(), rtol=1e-5)
    divergence = actual.kl(TfDiagGaussian.from_inputs(tf.constant(others), space))
    np.testing.assert_allclose(divergence, oracle.kl(NumpyDiagGaussian.from_inputs(others, space)), rtol=1e-4)
    np.testing.assert_array_equal(actual.to_deterministic().inputs, oracle.to_deterministic().inputs)
    assert actual.sample().numpy().shape == (*batch, 2, 3)


def test_gaussian_samples_have_the_mean_and_the_deviation_asked_for() -> None:
    inputs = np.tile(np.array([1.0, -2.0, np.log(0.5), np.log(3.0)], np.float32), (20_000, 1))
    tf.random.set_seed(0)

    drawn = TfDiagGaussian(tf.constant(inputs)).sample().numpy()

    np.testing.assert_allclose(drawn.mean(axis=0), [1.0, -2.0], atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 3.0], rtol=0.02)


def test_only_the_reparametrised_sample_carries_a_gradient() -> None:
    inputs = tf.constant(draw(4, 6))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        dist = TfDiagGaussian(inputs)
        plain, reparametrised = dist.sample(), dist.rsample()

    assert tape.gradient(plain, inputs) is None
    slope = np.asarray(tape.gradient(reparametrised, inputs))
    np.testing.assert_allclose(slope[:, :3], np.ones((4, 3)))


@pytest.mark.parametrize("log_std", [-20.0, 20.0])
def test_extreme_deviations_give_finite_values_and_gradients(log_std: float) -> None:
    inputs = tf.constant([[0.5, log_std]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        dist = TfDiagGaussian(inputs)
        results = [dist.logp(tf.constant([[0.5]])), dist.entropy(), dist.kl(TfDiagGaussian(inputs))]

    for result in results:
        assert np.isfinite(result).all()
        assert np.isfinite(np.asarray(tape.gradient(result, inputs))).all()


# --- Deterministic, foreign ones, and the NumPy form ------------------------------------------


def test_a_deterministic_distribution_is_its_inputs_and_has_no_density() -> None:
    dist = TfDeterministic.from_inputs(tf.constant([[1.0, 2.0]]))

    assert dist.sample().numpy().tolist() == [[1.0, 2.0]]
    assert dist.to_deterministic() is dist
    with pytest.raises(NotImplementedError, match="no log-probability"):
        dist.logp(dist.inputs)
    with pytest.raises(NotImplementedError, match="no entropy"):
        dist.entropy()
    with pytest.raises(NotImplementedError, match="no KL divergence"):
        dist.kl(dist)


class Foreign:
    """A distribution of the user's with the names that TensorFlow Probability has."""

    def __init__(self, location: tf.Tensor) -> None:
        self.location = location

    def sample(self) -> tf.Tensor:
        return self.location + 1.0

    def log_prob(self, value: tf.Tensor) -> tf.Tensor:
        return value - self.location

    def entropy(self) -> tf.Tensor:
        return tf.zeros_like(self.location)


def test_a_foreign_distribution_is_accepted_and_sampled_without_gradient() -> None:
    location = tf.constant([1.0])
    with tf.GradientTape() as tape:
        tape.watch(location)
        dist = as_distribution(Foreign(location))
        drawn = dist.sample()

    assert isinstance(dist, TfNative)
    assert drawn.numpy().tolist() == [2.0]
    assert dist.logp(tf.constant([3.0])).numpy().tolist() == [2.0]
    assert tape.gradient(drawn, location) is None
    with pytest.raises(NotImplementedError, match=r"Foreign has no mode\(\)"):
        dist.to_deterministic()


def test_what_is_no_distribution_is_refused_by_the_name_of_its_class() -> None:
    with pytest.raises(TypeError, match=r"action_dist: .* got builtins\.dict"):
        as_distribution({})


def test_the_numpy_form_has_the_same_parameters_and_kind() -> None:
    logits = draw(2, 3)
    categorical = TfCategorical(tf.constant(logits), start=4).to_numpy()
    gaussian = TfDiagGaussian(tf.constant(draw(2, 4)), event_shape=(2, 1)).to_numpy()

    assert isinstance(categorical, NumpyCategorical)
    assert categorical.start == 4
    np.testing.assert_array_equal(categorical.inputs, logits)
    assert isinstance(gaussian, NumpyDiagGaussian)
    assert gaussian.event_shape == (2, 1)
    assert isinstance(TfDeterministic(tf.zeros([1])).to_numpy(), NumpyDeterministic)


class Bits(Foreign):
    """As TensorFlow Probability's: it says that its draws carry no gradient, and has a mode."""

    reparameterization_type = "<Reparameterization Type: NOT_REPARAMETERIZED>"

    def entropy(self) -> tf.Tensor:
        raise NotImplementedError

    def mode(self) -> tf.Tensor:
        return self.location

    def kl_divergence(self, other: Any) -> tf.Tensor:
        return tf.subtract(self.location, other.location)  # type: ignore[no-any-return]


def test_what_a_foreign_distribution_lacks_is_named_with_what_has_it() -> None:
    plain, bits = (as_distribution(cls(tf.constant([1.0]))) for cls in (Foreign, Bits))

    for use, missing in (
        (plain.to_deterministic, "Foreign has no mode"),
        (bits.entropy, "Bits has no entropy"),
    ):
        with pytest.raises(NotImplementedError, match=rf"{missing}\(\): .*TfSquashedGaussian has all"):
            use()
    with pytest.raises(NotImplementedError, match=r"Bits has no reparametrised sample; use sample\(\)"):
        bits.rsample()
    assert bits.sample().numpy().tolist() == plain.rsample().numpy().tolist() == [2.0]


def test_a_foreign_mode_of_nan_is_refused_instead_of_acted_on() -> None:
    assert as_distribution(Bits(tf.constant([1.0]))).to_deterministic().sample().numpy().tolist() == [1.0]
    with pytest.raises(ValueError, match="Bits: its mode is NaN, so there is no deterministic action"):
        as_distribution(Bits(tf.constant([1.0, float("nan")]))).to_deterministic()


def test_a_divergence_between_ours_and_a_foreign_one_is_refused_by_both_classes() -> None:
    foreign: Any = as_distribution(Bits(tf.constant([1.0])))
    ours = TfCategorical(tf.zeros([1, 2]))

    assert foreign.kl(as_distribution(Bits(tf.constant([0.5])))).numpy().tolist() == [0.5]
    with pytest.raises(
        TypeError, match="kl: there is no divergence between Bits and TfCategorical; make both"
    ):
        foreign.kl(ours)
    with pytest.raises(TypeError, match="kl: expected another TfCategorical, got TfNative"):
        ours.kl(foreign)
