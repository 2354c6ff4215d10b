"""Episodes split and put together: every step once, no step of another episode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rlmodule_algos.offline import (
    OfflineDataError,
    OfflineEpisode,
    split_episodes,
    stack_sequences,
    stack_steps,
)


def numbered(first: int, steps: int, *, terminated: bool = True) -> OfflineEpisode:
    """An episode whose step t has the number `first + t` in its action, and the same in its observation."""
    numbers = np.arange(first, first + steps + 1)
    return OfflineEpisode(
        obs={"n": numbers.astype(np.float64), "eye": numbers.astype(np.uint8)[:, None]},
        actions=numbers[:-1],
        rewards=np.ones(steps, np.float32),
        terminated=terminated,
        truncated=not terminated,
    )


EPISODES = [numbered(1, 5), numbered(101, 1, terminated=False), numbered(201, 4)]


def test_steps_are_all_there_in_order_beside_what_they_were_done_on_and_final_observations_are_not() -> None:
    columns = stack_steps(EPISODES)

    assert columns["actions"].tolist() == [1, 2, 3, 4, 5, 101, 201, 202, 203, 204]
    np.testing.assert_array_equal(columns["obs"]["n"], columns["actions"])
    assert np.flatnonzero(columns["terminated"]).tolist() == [4, 9]
    assert np.flatnonzero(columns["truncated"]).tolist() == [5]


def test_float64_becomes_float32_as_in_acting_and_other_dtypes_are_kept() -> None:
    columns = stack_steps(EPISODES)

    assert columns["obs"]["n"].dtype == np.float32
    assert columns["obs"]["eye"].dtype == np.uint8
    assert columns["actions"].dtype == np.int64


@pytest.mark.filterwarnings("error")
def test_what_float32_cannot_hold_is_infinite_for_the_learner_to_name_without_a_word_of_numpy() -> None:
    episode = numbered(1, 2)
    huge = replace(episode, obs={**episode.obs, "n": np.array([1e300, 0.0, 0.0])})

    np.testing.assert_array_equal(stack_steps([huge])["obs"]["n"], np.array([np.inf, 0.0], np.float32))


def test_sequences_are_cut_from_the_start_of_each_episode_and_filled_with_zeros() -> None:
    columns, mask, is_start = stack_sequences(EPISODES, 2)

    assert columns["actions"].tolist() == [[1, 2], [3, 4], [5, 0], [101, 0], [201, 202], [203, 204]]
    assert columns["obs"]["n"].tolist() == columns["actions"].tolist()
    assert columns["obs"]["eye"].shape == (6, 2, 1)
    assert mask.tolist() == [
        [True, True],
        [True, True],
        [True, False],
        [True, False],
        [True, True],
        [True, True],
    ]
    assert is_start.tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("max_seq_len", [1, 2, 3, 4, 5, 6, 100])
def test_the_real_steps_of_sequences_are_the_steps_whatever_their_length(max_seq_len: int) -> None:
    columns, mask, is_start = stack_sequences(EPISODES, max_seq_len)
    steps = stack_steps(EPISODES)

    for name in ("actions", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(columns[name][mask], steps[name])
        assert not columns[name][~mask].any()
    assert mask.shape[1] == max_seq_len
    assert columns["actions"][is_start, 0].tolist() == [1, 101, 201]
    assert mask[:, 0].all()


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(OfflineDataError, match="stack_steps: expected at least one episode"):
        stack_steps([])
    with pytest.raises(ValueError, match="max_seq_len must be at least 1, got 0"):
        stack_sequences(EPISODES, 0)
    other = OfflineEpisode(
        obs=np.zeros(2),
        actions=np.zeros(1),
        rewards=np.zeros(1, np.float32),
        terminated=True,
        truncated=False,
    )
    with pytest.raises(OfflineDataError, match=r"episode 1: obs\.eye: expected \[1\] as in episode 0"):
        stack_steps([EPISODES[0], other])


@pytest.mark.parametrize(
    ("count", "fraction", "held_out"),
    [
        (10, 0.2, 2),
        (10, 0.0, 0),
        (10, 0.01, 1),
        (10, 0.99, 9),
        (2, 0.5, 1),
        (1, 0.5, 0),
        (3, 0.9, 2),
        (0, 0.5, 0),
    ],
)
def test_whole_episodes_are_held_out_and_both_parts_have_some_where_they_can(
    count: int, fraction: float, held_out: int
) -> None:
    training, validation = split_episodes(range(count), fraction, seed=0)

    assert len(validation) == held_out
    assert sorted(training + validation) == list(range(count))
    assert training == sorted(training)
    assert validation == sorted(validation)


def test_a_split_is_the_seeds_and_another_seed_gives_another() -> None:
    splits = [split_episodes(range(100), 0.3, seed=seed)[1] for seed in (1, 1, 2)]

    assert splits[0] == splits[1] != splits[2]


def test_an_episode_is_held_out_only_while_each_of_its_agents_has_another_to_learn_from() -> None:
    episodes = [{"a": 0, "b": 0}, {"a": 1}, {"a": 2, "c": 2}, {"a": 3, "b": 3}, {"a": 4}]
    for seed in range(20):
        training, validation = split_episodes(episodes, 0.8, seed)

        assert {agent for episode in training for agent in episode} == {"a", "b", "c"}
        assert {"a": 2, "c": 2} in training
        assert len(validation) == 3, "the others, but for one of b"


def test_where_every_agent_plays_once_nothing_is_held_out() -> None:
    assert split_episodes([{"a": 0}, {"b": 0}], 0.5, seed=0) == ([{"a": 0}, {"b": 0}], [])


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_that_would_leave_nothing_to_learn_from_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"validation_fraction must be in \[0, 1\), got"):
        split_episodes(range(3), fraction, seed=0)
