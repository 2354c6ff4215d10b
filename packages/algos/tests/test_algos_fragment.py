"""The container of experience: its views, its mask, and the closing of gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rlmodule_algos.batching import Fragment
from rlmodule_algos.batching.fragment import without_holes

T, B = 40, 5  # long enough that an unstable sort would show


def recorded(holes: npt.NDArray[np.bool_], seed: int) -> Fragment:
    """A fragment as it is recorded, with gaps: every number in it is unlike every other."""
    rng = np.random.default_rng(seed)
    steps, rows = holes.shape
    ends = (rng.random(holes.shape) < 0.3) & ~holes
    terminated = ends & (rng.random(holes.shape) < 0.5)
    index = np.argwhere(ends)
    number = np.arange(1, steps * rows + 1, dtype=np.float32).reshape(steps, rows)
    obs = 1000.0 + np.arange((steps + 1) * rows, dtype=np.float32).reshape(steps + 1, rows)
    return Fragment(
        obs={"vector": np.stack([obs, -obs], axis=-1), "pair": (obs.astype(np.int64), obs > 1020)},
        actions=number.astype(np.int64) * 7,
        action_logp=-number,
        rewards=number,
        terminated=terminated,
        truncated=ends & ~terminated,
        lengths=np.full(rows, steps),
        final_obs=index[:, 0] * 100.0 + index[:, 1],
        final_index=index,
        weights_version=3,
    )


def random_holes(seed: int, share: float) -> npt.NDArray[np.bool_]:
    return np.random.default_rng([seed, 1]).random((T, B)) < share


def row_by_loop(fragment: Fragment, holes: npt.NDArray[np.bool_], row: int) -> list[tuple[Any, ...]]:
    """The real steps of one row, in order, each with all that was recorded for it."""
    at = [t for t in range(len(holes)) if not holes[t, row]]
    return [step_of(fragment, t, row) for t in at]


def step_of(fragment: Fragment, t: int, row: int) -> tuple[Any, ...]:
    columns = (
        fragment.obs["vector"],
        *fragment.obs["pair"],
        fragment.actions,
        fragment.action_logp,
        fragment.rewards,
        fragment.terminated,
        fragment.truncated,
    )
    final = [
        fragment.final_obs[k].item()
        for k in range(len(fragment.final_index))
        if fragment.final_index[k].tolist() == [t, row]
    ]
    return (*(column[t, row].tolist() for column in columns), final)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_closing_gaps_keeps_exactly_the_real_steps_in_their_order(seed: int, share: float) -> None:
    holes = random_holes(seed, share)
    given = recorded(holes, seed)

    closed = without_holes(given, holes)

    for row in range(B):
        expected = row_by_loop(given, holes, row)
        assert closed.lengths[row] == len(expected)
        assert [step_of(closed, t, row) for t in range(len(expected))] == expected
        # what the row acts on next is still the last observation there is
        assert closed.obs["vector"][len(expected), row].tolist() == given.obs["vector"][T, row].tolist()
        assert closed.obs["pair"][0][len(expected), row] == given.obs["pair"][0][T, row]
    assert closed.num_steps == int((~holes).sum())
    assert closed.padded == bool(holes.any())
    assert len(closed.final_index) == len(given.final_index)
    assert closed.weights_version == 3


def test_closing_gaps_leaves_the_given_fragment_as_it_was() -> None:
    holes = random_holes(0, 0.3)
    given, again = recorded(holes, 0), recorded(holes, 0)
    without_holes(given, holes)
    np.testing.assert_array_equal(given.final_index, again.final_index)
    np.testing.assert_array_equal(given.obs["vector"], again.obs["vector"])
    np.testing.assert_array_equal(given.rewards, again.rewards)


def test_the_mask_is_true_on_the_first_steps_of_each_row() -> None:
    holes = random_holes(1, 0.4)
    closed = without_holes(recorded(holes, 1), holes)
    expected = [[t < closed.lengths[row] for row in range(B)] for t in range(T)]
    assert closed.mask.tolist() == expected
    assert closed.mask.sum() == closed.num_steps


def test_real_gives_the_steps_without_padding_in_order_of_time_then_row() -> None:
    holes = random_holes(2, 0.4)
    closed = without_holes(recorded(holes, 2), holes)
    at = [(t, row) for t in range(T) for row in range(B) if t < closed.lengths[row]]

    assert closed.real(closed.rewards).tolist() == [closed.rewards[place].item() for place in at]
    nested = closed.real({"o": closed.obs["vector"][:-1], "two": (closed.actions, closed.terminated)})
    assert nested["o"].tolist() == [closed.obs["vector"][place].tolist() for place in at]
    assert nested["two"][0].tolist() == [closed.actions[place].item() for place in at]


def test_without_padding_the_real_steps_are_views_of_the_columns() -> None:
    full = recorded(np.zeros((T, B), bool), 3)
    assert not full.padded
    real = full.real({"rewards": full.rewards, "obs": full.obs["vector"][:-1]})
    assert np.shares_memory(real["rewards"], full.rewards)
    assert np.shares_memory(real["obs"], full.obs["vector"])
    assert real["rewards"].tolist() == full.rewards.ravel().tolist()
    assert real["obs"].shape == (T * B, 2)


def test_a_row_that_only_reset_has_no_steps() -> None:
    holes = np.zeros((1, 2), bool)
    holes[0, 1] = True
    closed = without_holes(recorded(holes, 0), holes)
    assert closed.lengths.tolist() == [1, 0]
    assert closed.mask.tolist() == [[True, False]]
    assert closed.real(closed.rewards).tolist() == [1.0]
    assert closed.obs["vector"][0, 1].tolist() == recorded(holes, 0).obs["vector"][1, 1].tolist()
