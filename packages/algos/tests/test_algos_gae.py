"""GAE against the paper's sum, slow and literal. Source: https://arxiv.org/abs/1506.02438"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from rlmodule_algos.returns import explained_variance, gae, standardize

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Trajectories(NamedTuple):
    rewards: Array
    values: Array
    next_values: Array
    terminated: BoolArray
    ended: BoolArray


def trajectories(T: int, B: int, seed: int) -> Trajectories:
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.normal(size=(3, T, B))
    terminated = rng.random((T, B)) < 0.15
    ended = terminated | (rng.random((T, B)) < 0.15)
    return Trajectories(rewards, values, next_values, terminated, ended)


def gae_by_double_loop(
    given: Trajectories, lengths: npt.NDArray[np.int64], gamma: float, lambda_: float
) -> Array:
    """A_t = sum over l of (gamma lambda)^l delta_t+l (16), up to the end of the episode or of the row."""
    advantages = np.zeros_like(given.rewards)
    for b, length in enumerate(lengths):
        for t in range(length):
            for k in range(t, length):
                successor = 0.0 if given.terminated[k, b] else given.next_values[k, b]
                delta = given.rewards[k, b] + gamma * successor - given.values[k, b]
                advantages[t, b] += (gamma * lambda_) ** (k - t) * delta
                if given.ended[k, b]:
                    break
    return advantages


@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
def test_gae_equals_the_papers_sum_when_episodes_end_inside_the_batch(lambda_: float) -> None:
    given = trajectories(T=9, B=5, seed=0)
    assert given.terminated.any()
    assert (given.ended & ~given.terminated).any()  # both occur
    expected = gae_by_double_loop(given, np.full(5, 9), gamma=0.9, lambda_=lambda_)

    actual = gae(*given, gamma=0.9, lambda_=lambda_)

    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_padding_that_holds_nan_changes_nothing_and_gets_nothing() -> None:
    given = trajectories(T=9, B=5, seed=1)
    lengths = np.array([9, 0, 4, 1, 7])
    mask = np.arange(9)[:, None] < lengths
    expected = gae_by_double_loop(given, lengths, gamma=0.9, lambda_=0.8)
    holed = Trajectories(
        *(np.where(mask, column, np.nan) for column in given[:3]),
        *(np.where(mask, column, True) for column in given[3:]),
    )

    actual = gae(*holed, mask, gamma=0.9, lambda_=0.8)

    np.testing.assert_allclose(actual, expected, rtol=1e-10)


EXAMPLE = {
    "rewards": [1.0, 0.0, -0.5, 2.0, 0.25],
    "values": [0.5, 0.7, -0.2, 1.1, 0.3],
    "next_values": [0.7, -0.2, 1.1, 0.3, 0.9],
}


@pytest.mark.parametrize(
    ("end", "final_value", "expected"),
    [
        (None, None, [2.700138, 1.602486, 2.658677, 1.987961, 0.841000]),
        ("terminated", None, [0.083069, -1.180150, -0.300000, 1.987961, 0.841000]),
        ("truncated", 4.2, [3.760987, 2.730449, 3.858000, 1.987961, 0.841000]),
    ],
)
def test_the_hand_computed_example_of_five_steps(
    end: str | None, final_value: float | None, expected: list[float]
) -> None:
    rewards, values, next_values = (np.array(EXAMPLE[name])[:, None] for name in EXAMPLE)
    terminated, ended = np.zeros((2, 5, 1), dtype=bool)
    ended[2] = end is not None
    terminated[2] = end == "terminated"
    if final_value is not None:
        next_values[2] = final_value

    actual = gae(rewards, values, next_values, terminated, ended, gamma=0.99, lambda_=0.95)

    np.testing.assert_allclose(actual.ravel(), expected, atol=1e-6)


def test_a_truncated_step_keeps_its_successors_value_and_a_terminated_one_does_not() -> None:
    one, zero, yes, no = np.ones((1, 1)), np.zeros((1, 1)), np.ones((1, 1), bool), np.zeros((1, 1), bool)

    truncated = gae(one, zero, 10 * one, no, yes, gamma=0.5, lambda_=0.9)
    terminated = gae(one, zero, 10 * one, yes, yes, gamma=0.5, lambda_=0.9)

    assert truncated.item() == 6.0
    assert terminated.item() == 1.0


def test_terminated_and_truncated_at_once_counts_as_terminated() -> None:
    given = trajectories(T=6, B=3, seed=2)
    only_terminated = given._replace(ended=given.ended & ~given.terminated)

    np.testing.assert_array_equal(
        gae(*given, gamma=0.9, lambda_=0.9), gae(*only_terminated, gamma=0.9, lambda_=0.9)
    )


def test_standardized_advantages_have_mean_0_and_the_populations_deviation_1() -> None:
    result = standardize(np.random.default_rng(0).normal(3.0, 5.0, size=40))

    np.testing.assert_allclose([result.mean(), result.std(ddof=0)], [0.0, 1.0], atol=1e-7)


@pytest.mark.parametrize("same", [[4.0], [2.0, 2.0, 2.0]])
def test_advantages_without_spread_become_zero_and_not_nan(same: list[float]) -> None:
    np.testing.assert_array_equal(standardize(np.array(same)), np.zeros(len(same)))


def test_explained_variance_is_1_for_perfect_0_for_the_mean_and_nan_without_variance() -> None:
    targets = np.array([1.0, 2.0, 6.0])

    assert explained_variance(targets, targets) == 1.0
    assert explained_variance(np.full(3, 3.0), targets) == 0.0
    assert np.isnan(explained_variance(targets, np.ones(3)))
