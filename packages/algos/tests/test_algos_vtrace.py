"""V-trace against the paper's sum, slow and literal. Source: https://arxiv.org/abs/1802.01561"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from rlmodule_algos.returns import VTrace, gae, vtrace
from rlmodule_algos.returns.vtrace import MAX_LOG_RATIO

Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
CLIPS: dict[str, Any] = {"clip_rho": 1.2, "clip_c": 0.9, "clip_pg_rho": 1.5}


@dataclass(frozen=True)
class Given:
    log_ratios: Array
    rewards: Array
    values: Array
    next_values: Array
    terminated: BoolArray
    ended: BoolArray

    def on_policy(self) -> Given:
        return replace(self, log_ratios=np.zeros_like(self.log_ratios))

    def rows(self, index: Any) -> Given:
        return Given(*(column[:, index] for column in self.columns()))

    def columns(self) -> tuple[npt.NDArray[Any], ...]:
        return tuple(vars(self).values())


def given(T: int, B: int, seed: int, *, ends: float = 0.15) -> Given:
    """Trajectories whose `next_values` are the next row's values wherever the episode goes on."""
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.normal(size=(3, T, B))
    terminated = rng.random((T, B)) < ends
    ended = terminated | (rng.random((T, B)) < ends)
    next_values[:-1] = np.where(ended[:-1], next_values[:-1], values[1:])
    return Given(rng.normal(scale=0.7, size=(T, B)), rewards, values, next_values, terminated, ended)


def run(data: Given, mask: BoolArray | None = None, *, gamma: float = 0.9, **settings: Any) -> VTrace:
    return vtrace(**vars(data), mask=mask, gamma=gamma, **settings)


def by_double_loop(
    data: Given,
    lengths: Any = None,
    *,
    gamma: float = 0.9,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
    clip_pg_rho: float = 1.0,
) -> tuple[Array, Array]:
    """(1) as it stands: v_s = V(x_s) + sum over t of gamma^(t - s) (product of c_s .. c_t-1) delta_t."""
    T, B = data.rewards.shape
    targets, advantages = np.zeros((2, T, B))
    ratio = np.exp(data.log_ratios)

    def after(t: int, b: int) -> float:
        return 0.0 if data.terminated[t, b] else float(data.next_values[t, b])

    for b, length in enumerate(np.full(B, T) if lengths is None else lengths):
        for s in range(length):
            targets[s, b], product = data.values[s, b], 1.0
            for t in range(s, length):
                rho = min(clip_rho, ratio[t, b])
                delta = rho * (data.rewards[t, b] + gamma * after(t, b) - data.values[t, b])
                targets[s, b] += gamma ** (t - s) * product * delta
                product *= lambda_ * min(clip_c, ratio[t, b])
                if data.ended[t, b]:
                    break
        for s in range(length):
            edge = data.ended[s, b] or s == length - 1
            v_next = after(s, b) if edge else (1 - lambda_) * after(s, b) + lambda_ * targets[s + 1, b]
            pg_rho = min(clip_pg_rho, ratio[s, b])
            advantages[s, b] = pg_rho * (data.rewards[s, b] + gamma * v_next - data.values[s, b])
    return targets, advantages


# --- the paper's sum ----------------------------------------------------------------------------


@pytest.mark.parametrize("lambda_", [1.0, 0.9, 0.0])
@pytest.mark.parametrize("clips", [{}, CLIPS, dict.fromkeys(CLIPS, 100.0)])
def test_vtrace_equals_the_papers_sum_when_episodes_end_inside_the_batch(
    lambda_: float, clips: dict[str, Any]
) -> None:
    data = given(T=9, B=6, seed=0)
    assert data.terminated.any()
    assert (data.ended & ~data.terminated).any()  # both occur
    targets, advantages = by_double_loop(data, lambda_=lambda_, **clips)

    actual = run(data, lambda_=lambda_, **clips)

    np.testing.assert_allclose(actual.value_targets, targets, rtol=1e-10)
    np.testing.assert_allclose(actual.advantages, advantages, rtol=1e-10)


@pytest.mark.parametrize("name", CLIPS)
def test_each_threshold_is_one_of_its_own(name: str) -> None:
    data = given(T=9, B=6, seed=1)

    one, other = run(data, **CLIPS), run(data, **{**CLIPS, name: 0.5})

    changed = {field: not np.array_equal(a, b) for field, a, b in zip(one._fields, one, other, strict=True)}
    assert (
        changed
        == {
            "clip_rho": {"value_targets": True, "advantages": True, "rhos": True},
            "clip_c": {"value_targets": True, "advantages": True, "rhos": False},
            "clip_pg_rho": {"value_targets": False, "advantages": True, "rhos": False},
        }[name]
    )


REWARDS = [1.0, 0.0, -0.5, 2.0, 0.25]
VALUES = [0.5, 0.7, -0.2, 1.1, 0.3]
RATIOS = [0.4, 1.7, 0.9, 3.0, 0.2]


@pytest.mark.parametrize(
    ("ratios", "lambda_", "expected"),
    [
        ([1.0] * 5, 1.0, [3.546588, 2.572311, 2.598294, 3.129590, 1.141000]),
        ([1.0] * 5, 0.9, [2.895987, 2.050154, 2.323181, 3.046331, 1.141000]),
        (RATIOS, 1.0, [1.376267, 1.707745, 1.724995, 2.463518, 0.468200]),
    ],
)
def test_the_hand_computed_targets_of_five_steps(
    ratios: list[float], lambda_: float, expected: list[float]
) -> None:
    no = np.zeros((5, 1), bool)
    log_ratios, rewards, values, next_values = (
        np.array(column)[:, None] for column in (np.log(ratios), REWARDS, VALUES, [*VALUES[1:], 0.9])
    )

    actual = vtrace(log_ratios, rewards, values, next_values, no, no, gamma=0.99, lambda_=lambda_)

    np.testing.assert_allclose(actual.value_targets.ravel(), expected, atol=1e-6)
    if ratios is RATIOS:
        wanted = [0.876267, 1.007745, 1.924995, 1.363518, 0.168200]
        np.testing.assert_allclose(actual.advantages.ravel(), wanted, atol=1e-6)


# --- on policy ----------------------------------------------------------------------------------


def test_on_policy_a_target_is_the_n_step_return_and_the_advantage_what_it_exceeds_the_value_by() -> None:
    data = given(T=8, B=5, seed=2).on_policy()
    returns = np.zeros_like(data.rewards)  # (2)
    for t in range(7, -1, -1):
        after = np.where(data.terminated[t], 0.0, data.next_values[t])
        follows = after if t == 7 else np.where(data.ended[t], after, returns[t + 1])
        returns[t] = data.rewards[t] + 0.9 * follows

    actual = run(data)

    np.testing.assert_allclose(actual.value_targets, returns, rtol=1e-10)
    np.testing.assert_allclose(actual.advantages, returns - data.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(actual.rhos, 1.0)


@pytest.mark.parametrize("lambda_", [1.0, 0.9, 0.3, 0.0])
def test_on_policy_targets_and_advantages_are_those_of_gae_at_every_lambda(lambda_: float) -> None:
    data = given(T=8, B=5, seed=3).on_policy()
    expected = gae(*data.columns()[1:], gamma=0.9, lambda_=lambda_)

    actual = run(data, lambda_=lambda_)

    np.testing.assert_allclose(actual.advantages, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(actual.value_targets, expected + data.values, rtol=1e-9, atol=1e-12)


def test_below_lambda_1_the_papers_form_of_the_advantage_would_not_be_gae() -> None:
    data = given(T=8, B=1, seed=4, ends=0.0).on_policy()
    targets = run(data, lambda_=0.5).value_targets
    papers = data.rewards[:-1] + 0.9 * targets[1:] - data.values[:-1]

    assert np.abs(papers - run(data, lambda_=0.5).advantages[:-1]).max() > 0.1
    targets = run(data, lambda_=1.0).value_targets
    papers = data.rewards[:-1] + 0.9 * targets[1:] - data.values[:-1]
    np.testing.assert_allclose(papers, run(data, lambda_=1.0).advantages[:-1], rtol=1e-9)


# --- edges --------------------------------------------------------------------------------------


def test_a_fragments_end_bootstraps_from_the_value_of_what_follows() -> None:
    """Not as if it terminated, 2.71, 1.9, 1, nor from the last visited state."""
    one, no = np.ones((3, 1)), np.zeros((3, 1), bool)

    actual = vtrace(0 * one, one, 5 * one, 5 * one, no, no, gamma=0.9)

    np.testing.assert_allclose(actual.value_targets.ravel(), [6.355, 5.95, 5.5])


def test_a_truncated_step_keeps_its_successors_value_and_a_terminated_one_does_not() -> None:
    one, no, yes = np.ones((1, 1)), np.zeros((1, 1), bool), np.ones((1, 1), bool)

    truncated = vtrace(0 * one, one, 0 * one, 10 * one, no, yes, gamma=0.5)
    terminated = vtrace(0 * one, one, 0 * one, 10 * one, yes, yes, gamma=0.5)
    both = vtrace(0 * one, one, 0 * one, 10 * one, yes, no, gamma=0.5)

    assert [case.value_targets.item() for case in (truncated, terminated, both)] == [6.0, 1.0, 1.0]
    assert [case.advantages.item() for case in (truncated, terminated, both)] == [6.0, 1.0, 1.0]


def test_nothing_flows_back_from_the_next_episode_of_a_row() -> None:
    data = given(T=6, B=4, seed=5, ends=0.0)
    data.ended[2] = True  # truncated
    other = given(T=6, B=4, seed=6, ends=0.0)
    parts = zip(data.columns(), other.columns(), strict=True)
    mixed = Given(*(np.concatenate([one[:3], two[3:]]) for one, two in parts))

    for name in VTrace._fields:
        np.testing.assert_array_equal(getattr(run(data), name)[:3], getattr(run(mixed), name)[:3])


# --- padding and rows -----------------------------------------------------------------------------


def test_padding_that_holds_nan_changes_nothing_and_gets_nothing() -> None:
    data = given(T=9, B=5, seed=7)
    lengths = np.array([9, 0, 4, 1, 7])
    mask = np.arange(9)[:, None] < lengths
    targets, advantages = by_double_loop(data, lengths, lambda_=0.8, **CLIPS)
    holed = Given(
        *(np.where(mask, column, np.nan) for column in data.columns()[:4]),
        *(np.where(mask, column, False) for column in data.columns()[4:]),
    )

    actual = run(holed, mask, lambda_=0.8, **CLIPS)

    np.testing.assert_allclose(actual.value_targets, targets, rtol=1e-10)
    np.testing.assert_allclose(actual.advantages, advantages, rtol=1e-10)
    assert not actual.rhos[~mask].any()


@pytest.mark.parametrize("filling", [1e6, np.nan, -np.inf])
def test_what_padding_holds_does_not_move_a_bit(filling: float) -> None:
    data = given(T=9, B=5, seed=8)
    mask = np.arange(9)[:, None] < np.array([9, 0, 4, 1, 7])
    filled = replace(
        data,
        **{
            name: np.where(mask, column, filling)
            for name, column in vars(data).items()
            if column.dtype == np.float64
        },
    )

    for one, other in zip(run(data, mask), run(filled, mask), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_are_independent_and_their_order_does_not_matter() -> None:
    data = given(T=7, B=6, seed=9)
    order = np.random.default_rng(0).permutation(6)

    whole, shuffled = run(data, **CLIPS), run(data.rows(order), **CLIPS)
    single = run(data.rows([3]), **CLIPS)

    for name in VTrace._fields:
        np.testing.assert_array_equal(getattr(whole, name)[:, order], getattr(shuffled, name))
        np.testing.assert_array_equal(getattr(whole, name)[:, [3]], getattr(single, name))


def test_cutting_a_fragment_in_two_changes_only_what_looked_beyond_the_cut() -> None:
    data = given(T=8, B=3, seed=10, ends=0.0)
    first = Given(*(column[:4] for column in data.columns()))
    second = Given(*(column[4:] for column in data.columns()))

    np.testing.assert_allclose(run(data).value_targets[4:], run(second).value_targets)
    lifted = replace(first, next_values=first.next_values.copy())
    lifted.next_values[-1] = run(second).value_targets[0]
    # with the target in place of the value: the last delta is rho (r + gamma v - V), as if rho were c
    np.testing.assert_allclose(run(data).value_targets[:4], run(lifted).value_targets)


# --- numbers ------------------------------------------------------------------------------------


def test_the_inputs_are_left_as_they_were() -> None:
    data = given(T=5, B=2, seed=11)
    before = [column.copy() for column in data.columns()]
    run(data, **CLIPS)

    for column, copy in zip(data.columns(), before, strict=True):
        np.testing.assert_array_equal(column, copy)


def test_float32_stays_float32() -> None:
    data = given(T=5, B=2, seed=12)
    narrow = Given(*(c.astype(np.float32) if c.dtype == np.float64 else c for c in data.columns()))  # type: ignore[arg-type]

    assert {part.dtype for part in run(narrow, **CLIPS)} == {np.dtype(np.float32)}


def test_huge_log_ratios_are_clamped_and_never_overflow() -> None:
    one, no = np.ones((2, 1), np.float32), np.zeros((2, 1), bool)
    wide: dict[str, Any] = {"clip_rho": 1e30, "clip_c": 1e30, "clip_pg_rho": 1e30}

    huge = vtrace(1e4 * one, one, 0 * one, 0 * one, no, no, gamma=0.5, **wide)
    limit = vtrace(MAX_LOG_RATIO * one, one, 0 * one, 0 * one, no, no, gamma=0.5, **wide)
    tiny = vtrace(-1e4 * one, one, 0 * one, 0 * one, no, no, gamma=0.5)

    for part, other in zip(huge, limit, strict=True):
        assert np.isfinite(part).all()
        np.testing.assert_array_equal(part, other)
    assert np.isfinite(tiny.advantages).all()


# --- the fixed point ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip_rho", "corrected", "expected"), [(1.0, True, 0.8333), (1e6, True, 0.9), (1.0, False, 0.5)]
)
def test_the_value_of_a_bandit_settles_where_the_paper_says(
    clip_rho: float, corrected: bool, expected: float
) -> None:
    """Uniform mu, pi (.9, .1), rewards (1, 0): (3) gives pi_1 = (.5, .1) / .6, so V = 5/6."""
    rng = np.random.default_rng(0)
    pi, value = np.array([0.9, 0.1]), 0.0
    no = np.zeros((1, 4000), bool)
    for step in range(400):
        actions = rng.integers(2, size=(1, 4000))
        log_ratios = np.log(pi[actions] / 0.5) if corrected else np.zeros(actions.shape)
        seen = np.full(actions.shape, value)
        targets = vtrace(
            log_ratios, 1.0 * (actions == 0), seen, seen, ~no, ~no, gamma=0.9, clip_rho=clip_rho
        ).value_targets
        value += (0.1 if step < 200 else 0.02) * float((targets - value).mean())

    assert value == pytest.approx(expected, abs=0.01)
