"""Means over real rows, and the guard against silent broadcasting."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rlmodule_tf import masked_mean, require_same_shape, zero_padding


def test_padding_that_holds_nan_changes_neither_the_mean_nor_the_gradient() -> None:
    values = tf.constant([1.0, np.nan, 5.0, np.nan])
    with tf.GradientTape() as tape:
        tape.watch(values)
        mean = masked_mean(values, tf.constant([True, False, True, False]))

    assert float(mean) == 3.0
    assert np.asarray(tape.gradient(mean, values)).tolist() == [0.5, 0.0, 0.5, 0.0]


def test_padding_set_to_zero_first_keeps_nan_out_of_the_gradient_of_a_nonlinear_loss() -> None:
    values, mask = tf.constant([1.0, np.nan]), tf.constant([True, False])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values)
        (clean,) = zero_padding(mask, values)
        late, early = (masked_mean(tf.exp(column), mask) for column in (values, clean))

    assert np.isnan(np.asarray(tape.gradient(late, values))[1])  # masked too late
    np.testing.assert_allclose(np.asarray(tape.gradient(early, values)), [np.e, 0.0], rtol=1e-6)
    assert zero_padding(None, values)[0] is values


def test_the_mean_without_a_mask_takes_every_row_and_over_no_rows_is_zero() -> None:
    values = tf.constant([1.0, 2.0, 6.0])

    assert float(masked_mean(values, None)) == 3.0
    assert float(masked_mean(values, tf.constant([False, False, False]))) == 0.0


def test_columns_that_would_broadcast_are_refused_by_name_and_shape() -> None:
    with pytest.raises(ValueError, match=r"logp \[3\], values \[3, 1\]"):
        require_same_shape(logp=tf.zeros([3]), values=tf.zeros([3, 1]))


def test_in_a_graph_an_unknown_size_agrees_with_any_but_a_wrong_rank_does_not() -> None:
    shapes = [tf.TensorSpec([None]), tf.TensorSpec([None, 1])]
    compare = tf.function(lambda a, b: require_same_shape(a=a, b=b), autograph=False)

    compare.get_concrete_function(shapes[0], shapes[0])
    with pytest.raises(ValueError, match="one shape"):
        compare.get_concrete_function(*shapes)
