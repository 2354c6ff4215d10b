"""One compiled gradient step, against Adam written out in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from rlmodule_tf import TfUpdater

Array = npt.NDArray[Any]
SLOPE, OFFSET = [[1.0, -2.0, 0.5]], [0.25]


class LineLoss(NamedTuple):
    """What the loss below returns."""

    total: tf.Tensor
    error: tf.Tensor


class Line(tf.Module):
    """y = slope x + offset, and a loss whose gradient is easily written down."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = tf.Variable(tf.constant(SLOPE))
        self.offset = tf.Variable(tf.constant(OFFSET))
        self.traces: list[int] = []

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        return (self.slope, self.offset)

    def loss(self, batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> LineLoss:
        self.traces.append(1)
        x = batch["obs"]["x"]
        error = tf.matmul(x, self.slope, transpose_b=True)[:, 0] + self.offset - batch["y"]
        mean = tf.reduce_mean(error**2)
        return LineLoss(total=coefficients["scale"] * mean, error=mean)


def make_batch(N: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(N, 3)), rng.normal(size=N)
    return {"obs": {"x": tf.constant(x.astype(np.float32))}, "y": tf.constant(y.astype(np.float32))}


def flat(line: Line) -> Array:
    return np.concatenate([line.slope.numpy().ravel(), line.offset.numpy()]).astype(np.float64)


def gradient_by_hand(weights: Array, batch: Mapping[str, Any], scale: float) -> Array:
    x, y = batch["obs"]["x"].numpy().astype(np.float64), batch["y"].numpy()
    error = x @ weights[:3] + weights[3] - y
    return scale * 2.0 * np.append(x.T @ error, error.sum()) / len(y)


class AdamByHand:
    """Algorithm 1 of the paper."""

    def __init__(self, epsilon: float) -> None:
        self.m, self.v, self.t, self.epsilon = np.zeros(4), np.zeros(4), 0, epsilon

    def step(self, weights: Array, gradient: Array, lr: float) -> Array:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m_hat, v_hat = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return weights - lr * m_hat / (np.sqrt(v_hat) + self.epsilon)


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_ten_steps_equal_adam_written_out_in_numpy(epsilon: float) -> None:
    line, adam = Line(), AdamByHand(epsilon)
    updater = TfUpdater(line, line.loss, adam_epsilon=epsilon)
    weights = flat(line)
    for number in range(10):
        batch, lr, scale = make_batch(6, seed=number), 0.01 * (number + 1), 1.0 + number
        gradient = gradient_by_hand(weights, batch, scale)
        weights = adam.step(weights, gradient, lr)

        result = updater.step(batch, {"scale": scale, "lr": lr})

        assert result.applied
        np.testing.assert_allclose(result.grad_norm, np.linalg.norm(gradient), rtol=1e-4)
        np.testing.assert_allclose(flat(line), weights, rtol=1e-4, atol=1e-5)


def test_the_result_holds_the_named_tuple_of_the_loss() -> None:
    line = Line()
    result = TfUpdater(line, line.loss).step(make_batch(4), {"scale": 3.0, "lr": 0.1})

    assert type(result.loss) is LineLoss
    np.testing.assert_allclose(result.loss.total, 3.0 * result.loss.error, rtol=1e-6)


@pytest.mark.parametrize("mode", ["value", "norm", "global_norm"])
def test_clipping_limits_values_parts_or_the_whole_before_adam(mode: Any) -> None:
    line, batch, limit = Line(), make_batch(6), 0.3
    gradient = gradient_by_hand(flat(line), batch, scale=1.0)
    parts = [gradient[:3], gradient[3:]]
    assert all(np.linalg.norm(part) > limit for part in parts)
    expected = {
        "value": np.clip(gradient, -limit, limit),
        "norm": np.concatenate([part * limit / np.linalg.norm(part) for part in parts]),
        "global_norm": gradient * limit / np.linalg.norm(gradient),
    }
    updater = TfUpdater(line, line.loss, grad_clip=limit, grad_clip_by=mode)

    result = updater.step(batch, {"scale": 1.0, "lr": 0.01})

    np.testing.assert_allclose(updater.get_state()["exp_avg"], 0.1 * expected[mode], rtol=1e-4)
    np.testing.assert_allclose(result.grad_norm, np.linalg.norm(gradient), rtol=1e-4)  # before clipping


@pytest.mark.parametrize("mode", ["value", "norm", "global_norm"])
def test_a_gradient_below_the_limit_also_one_of_zero_is_left_alone(mode: Any) -> None:
    line = Line()
    updater = TfUpdater(line, line.loss, grad_clip=1e6, grad_clip_by=mode)
    gradient = gradient_by_hand(flat(line), make_batch(6), scale=1.0)
    updater.step(make_batch(6), {"scale": 1.0, "lr": 0.0})

    np.testing.assert_allclose(updater.get_state()["exp_avg"], 0.1 * gradient, rtol=1e-4)
    assert updater.step(make_batch(6), {"scale": 0.0, "lr": 0.1}).applied
    assert np.isfinite(flat(line)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_leaves_weights_and_moments_as_they_were_bit_for_bit(
    bad: float,
) -> None:
    line = Line()
    updater = TfUpdater(line, line.loss, grad_clip=1.0)
    updater.step(make_batch(4), {"scale": 1.0, "lr": 0.1})
    weights, state = flat(line).tobytes(), updater.get_state()
    spoiled = make_batch(4) | {"y": tf.constant([0.0, bad, 0.0, 0.0])}

    result = updater.step(spoiled, {"scale": 1.0, "lr": 0.1})

    assert not result.applied
    assert flat(line).tobytes() == weights
    after = updater.get_state()
    assert after["step"] == 1
    assert after["exp_avg"].tobytes() == state["exp_avg"].tobytes()
    assert updater.step(make_batch(4), {"scale": 1.0, "lr": 0.1}).applied


def test_one_trace_serves_every_batch_size_learning_rate_and_coefficient() -> None:
    line = Line()
    updater = TfUpdater(line, line.loss)
    for number, size in enumerate((3, 8, 5)):
        updater.step(make_batch(size), {"scale": 1.0 + number, "lr": 0.1 / (1 + number)})
    assert len(line.traces) == 1

    updater.step(make_batch(3) | {"mask": tf.ones([3], tf.bool)}, {"scale": 1.0, "lr": 0.1})
    assert len(line.traces) == 2  # another kind of batch is another graph


def test_a_restored_updater_takes_the_same_next_step_bit_for_bit() -> None:
    line, other = Line(), Line()
    updater, restored = TfUpdater(line, line.loss), TfUpdater(other, other.loss)
    assert updater.get_state() == {"step": 0}
    for seed in range(3):
        updater.step(make_batch(5, seed), {"scale": 1.0, "lr": 0.1})
    other.slope.assign(line.slope)
    other.offset.assign(line.offset)
    restored.set_state(updater.get_state())

    for one in (updater, restored):
        one.step(make_batch(5, seed=9), {"scale": 1.0, "lr": 0.1})

    assert flat(other).tobytes() == flat(line).tobytes()
    restored.set_state({"step": 0})
    assert restored.get_state() == {"step": 0}


def test_a_state_of_other_parameters_is_refused_before_anything_changes() -> None:
    line = Line()
    updater = TfUpdater(line, line.loss)
    updater.step(make_batch(5), {"scale": 1.0, "lr": 0.1})
    before = updater.get_state()

    with pytest.raises(ValueError, match=r"exp_avg_sq: expected \(4,\), got \(5,\)"):
        updater.set_state({"step": 7, "exp_avg": np.ones(4), "exp_avg_sq": np.ones(5)})

    assert updater.get_state()["step"] == 1
    np.testing.assert_array_equal(updater.get_state()["exp_avg"], before["exp_avg"])


def test_a_variable_that_the_loss_does_not_use_stays_where_it_is() -> None:
    line = Line()
    updater = TfUpdater(line, lambda batch, _: LineLoss(tf.reduce_sum(line.slope), tf.constant(0.0)))
    updater.step(make_batch(2), {"lr": 0.1})

    assert line.offset.numpy().tolist() == OFFSET
    assert (line.slope.numpy() != SLOPE).all()


def test_a_state_that_lacks_a_part_is_refused_by_its_name() -> None:
    line = Line()

    with pytest.raises(ValueError, match="optimizer state: exp_avg_sq missing"):
        TfUpdater(line, line.loss).set_state({"step": 7, "exp_avg": np.ones(4)})


def test_an_unknown_way_of_clipping_is_refused_with_the_known_ones() -> None:
    line, unknown = Line(), "globalnorm"
    with pytest.raises(ValueError, match=r"grad_clip_by: expected one of \('value'.*got 'globalnorm'"):
        TfUpdater(line, line.loss, grad_clip_by=unknown)  # type: ignore[arg-type]


def test_a_module_without_trainable_variables_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Module has no trainable parameters"):
        TfUpdater(tf.Module(), lambda batch, _: LineLoss(tf.constant(0.0), tf.constant(0.0)))


# --- the halves of a step, for gradients that several share -----------------------------------


@pytest.mark.parametrize("mode", ["value", "norm", "global_norm"])
def test_a_gradient_and_its_step_apart_are_one_step(mode: Any) -> None:
    whole, halves = Line(), Line()
    one, two = (TfUpdater(line, line.loss, grad_clip=0.5, grad_clip_by=mode) for line in (whole, halves))
    for number in range(3):
        batch, coefficients = make_batch(8, seed=number), {"lr": 0.1, "scale": 2.0}
        result = one.step(batch, coefficients)
        before = flat(halves)
        loss, gradient = two.gradient(batch, coefficients)
        np.testing.assert_array_equal(flat(halves), before)
        np.testing.assert_allclose(gradient, gradient_by_hand(before, batch, 2.0), rtol=1e-5, atol=1e-6)
        norm, applied = two.apply(gradient, 0.1)

        assert applied
        assert isinstance(loss, LineLoss)
        np.testing.assert_allclose([*loss, norm], [*result.loss, result.grad_norm], rtol=1e-6)
        np.testing.assert_allclose(flat(halves), flat(whole), rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    line = Line()
    updater = TfUpdater(line, line.loss)

    norm, applied = updater.apply(np.array([1.0, np.nan, 0.0, 0.0], np.float32), 0.1)

    assert not applied
    assert np.isnan(norm)
    assert flat(line).tolist() == [*SLOPE[0], *OFFSET]
    assert updater.get_state() == {"step": 0}


def test_flat_weights_travel_from_one_copy_of_a_module_to_another() -> None:
    here, there = Line(), Line()
    sender, receiver = TfUpdater(here, here.loss), TfUpdater(there, there.loss)
    sender.step(make_batch(8), {"lr": 0.1, "scale": 1.0})
    weights = sender.get_weights()
    weights.flags.writeable = False  # as what comes out of shared memory

    receiver.set_weights(weights)

    assert flat(there).tolist() == flat(here).tolist() == weights.tolist()
