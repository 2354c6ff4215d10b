"""Running mean and variance against NumPy's over everything at once."""

from __future__ import annotations

import numpy as np
import pytest

from rlmodule_core.running_moments import Moments, updated_moments


def nothing(shape: tuple[int, ...]) -> Moments:
    return Moments(np.full(shape, np.nan), np.full(shape, np.nan), 0)  # which must not matter


def in_parts(rows: np.ndarray, cuts: list[int]) -> Moments:
    moments = nothing(rows.shape[1:])
    for part in np.split(rows, cuts):
        moments = updated_moments(moments, part)
    return moments


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_any_split_gives_the_moments_of_all_rows_together(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(rng.normal(0, 100), rng.uniform(0.1, 10), (60, *shape))
    cuts = sorted(rng.integers(0, 61, 5).tolist())  # empty parts and single rows occur

    moments = in_parts(rows, cuts)

    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(moments.var, rows.var(axis=0), rtol=1e-8)
    assert moments.count == 60


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_row_with_a_nan_or_an_infinity_is_left_out_whole(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.normal(5, 2, (40, *shape))
    bad = rng.choice(40, 9, replace=False)
    for row, value in zip(bad, [np.nan, np.inf, -np.inf] * 3, strict=True):
        rows.reshape(40, -1)[row, rng.integers(rows.reshape(40, -1).shape[1])] = value
    good = np.delete(rows, bad, axis=0)

    moments = in_parts(rows, [0, 7, 8, 30])

    np.testing.assert_allclose(moments.mean, good.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(moments.var, good.var(axis=0), rtol=1e-8)
    assert moments.count == 31


@pytest.mark.parametrize("rows", [np.zeros((0, 2)), np.array([[np.nan, 1.0], [1.0, np.inf]])])
def test_without_a_good_row_the_old_moments_stand(rows: np.ndarray) -> None:
    old = Moments(np.ones(2), np.ones(2), 5)
    assert updated_moments(old, rows) is old


def test_a_far_mean_and_float32_rows_cost_no_digits() -> None:
    rng = np.random.default_rng(0)
    rows = (1e4 + rng.normal(0, 1, (5000, 1))).astype(np.float32)

    moments = in_parts(rows, list(range(10, 5000, 10)))

    assert moments.mean.dtype == moments.var.dtype == np.float64
    np.testing.assert_allclose(moments.mean, rows.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.var, rows.astype(np.float64).var(axis=0), rtol=1e-9)


def test_moments_that_were_kept_in_float32_go_on_in_float64() -> None:
    old = Moments(np.ones(1, np.float32), np.ones(1, np.float32), 2)
    assert updated_moments(old, np.array([[4.0]])).mean.dtype == np.float64


def test_what_was_passed_is_left_alone() -> None:
    old, rows = Moments(np.ones(2), np.ones(2), 5), np.array([[1.0, 2.0]])
    updated_moments(old, rows)
    np.testing.assert_array_equal(old.mean, np.ones(2))
    np.testing.assert_array_equal(rows, [[1.0, 2.0]])
