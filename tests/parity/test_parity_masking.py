"""Statistics over the rows that count, against NumPy's own on those rows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import rlmodule_tf.masking
import rlmodule_torch.masking
from rlmodule_algos.returns import standardize

MASKING: dict[str, Any] = {"torch": rlmodule_torch.masking, "tf": rlmodule_tf.masking}
TENSOR: dict[str, Any] = {"torch": torch.tensor, "tf": tf.constant}
by_framework = pytest.mark.parametrize("framework", MASKING)
SHAPES = pytest.mark.parametrize("shape", [(7,), (5, 4)], ids=["steps", "sequences"])


def drawn(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Values of which those that do not count are not finite, and which count."""
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(3.0, 2.0, shape).astype(np.float32), rng.random(shape) < 0.6
    assert mask.any()
    assert not mask.all()
    return np.where(mask, values, rng.choice([np.nan, np.inf], shape)).astype(np.float32), mask


@by_framework
@SHAPES
@pytest.mark.parametrize("seed", range(3))
def test_a_masked_mean_is_the_mean_of_what_counts(framework: str, shape: tuple[int, ...], seed: int) -> None:
    values, mask = drawn(shape, seed)
    tensor, masked_mean = TENSOR[framework], MASKING[framework].masked_mean

    np.testing.assert_allclose(masked_mean(tensor(values), tensor(mask)), values[mask].mean(), rtol=1e-6)
    finite = np.where(mask, values, 0.5).astype(np.float32)
    np.testing.assert_allclose(masked_mean(tensor(finite), None), finite.mean(), rtol=1e-6)


@by_framework
def test_the_masked_mean_of_nothing_is_0_and_of_one_value_that_value(framework: str) -> None:
    tensor, masked_mean = TENSOR[framework], MASKING[framework].masked_mean
    values = tensor(np.array([np.nan, 2.5, np.inf], np.float32))

    assert float(masked_mean(values, tensor([False, False, False]))) == 0.0
    assert float(masked_mean(values, tensor([False, True, False]))) == 2.5


@by_framework
@SHAPES
def test_columns_are_0_where_they_do_not_count_and_untouched_where_they_do(
    framework: str, shape: tuple[int, ...]
) -> None:
    values, mask = drawn(shape, seed=4)
    tensor, zero_padding = TENSOR[framework], MASKING[framework].zero_padding

    for column in zero_padding(tensor(mask), tensor(values), tensor(values)):
        np.testing.assert_array_equal(column, np.where(mask, values, 0.0))


@SHAPES
@pytest.mark.parametrize("seed", range(3))
def test_standardizing_with_a_mask_is_standardizing_what_counts(shape: tuple[int, ...], seed: int) -> None:
    values, mask = drawn(shape, seed)
    kept = values[mask].astype(np.float64)
    expected = (kept - kept.sum() / kept.size) / np.sqrt(((kept - kept.mean()) ** 2).sum() / kept.size)

    found = standardize(values, mask)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found[mask], expected, rtol=1e-4, atol=1e-5)
    assert not found[~mask].any()
