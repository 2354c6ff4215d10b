"""The buffer of batches that are learned from several times."""

from __future__ import annotations

from collections import Counter

import pytest

from rlmodule_algos.execution import CircularBuffer, SampledBatch


def played(num_batches: int, num_uses: int, rounds: int) -> tuple[list[list[int]], list[SampledBatch]]:
    """Push a batch and use what is due, so many times; batch n has n env steps. Returns uses and drops."""
    buffer = CircularBuffer(num_batches, num_uses)
    uses, dropped = [], []
    for number in range(rounds):
        gone = buffer.push(SampledBatch({}, number))
        dropped += [] if gone is None else [gone]
        uses.append([batch.num_env_steps for batch in buffer.due()])
    return uses, dropped


@pytest.mark.parametrize("num_batches", [1, 2, 4, 8])
@pytest.mark.parametrize("num_uses", [1, 2, 3, 5])
def test_every_batch_is_used_at_once_and_never_more_often_than_allowed(
    num_batches: int, num_uses: int
) -> None:
    uses, dropped = played(num_batches, num_uses, rounds=40)
    counted = Counter(number for due in uses for number in due)

    assert all(number in due for number, due in enumerate(uses))
    assert max(counted.values()) <= num_uses
    assert all(batch.uses for batch in dropped)  # nothing is dropped that was never used
    assert [len(due) for due in uses[num_batches:]] == [num_uses] * (40 - num_batches)


def test_two_uses_lie_apart_as_far_as_the_buffer_reaches() -> None:
    uses, dropped = played(num_batches=4, num_uses=2, rounds=8)

    assert uses == [[0], [1], [2], [3, 0], [4, 1], [5, 2], [6, 3], [7, 4]]
    assert not dropped


@pytest.mark.parametrize(("num_batches", "num_uses"), [(2, 4), (4, 3), (4, 8), (16, 20)])
def test_the_uses_of_a_batch_are_spread_over_all_the_time_that_it_is_held(
    num_batches: int, num_uses: int
) -> None:
    uses, _ = played(num_batches, num_uses, rounds=100)
    counted = Counter(number for due in uses for number in due)
    given = [number for due in uses[40:60] for number in due]
    least = min(num_batches, num_uses) - 1  # others between two uses of one

    assert {counted[number] for number in range(40, 60)} == {num_uses}
    for i in range(len(given) - least):
        assert len(set(given[i : i + least])) == least


def test_a_buffer_of_one_batch_uses_it_up_at_once() -> None:
    uses, dropped = played(num_batches=1, num_uses=3, rounds=3)

    assert uses == [[0] * 3, [1] * 3, [2] * 3]
    assert not dropped


def test_where_learning_falls_behind_the_oldest_goes_and_is_handed_back() -> None:
    buffer = CircularBuffer(2, 2)
    batches = [SampledBatch({}, steps) for steps in (10, 20, 30)]

    assert [buffer.push(batch) for batch in batches] == [None, None, batches[0]]
    assert buffer.unused_env_steps == 50
    assert [batch.num_env_steps for batch in buffer.due()] == [20, 30]
    assert buffer.unused_env_steps == 50  # who was given them may have failed to take a step
    batches[1].trained = True
    assert buffer.unused_env_steps == 30
    buffer.clear()
    assert list(buffer.due()) == []


def test_what_is_forgotten_of_a_module_leaves_the_batches_and_their_steps_where_they_are() -> None:
    buffer = CircularBuffer(2, 2)
    batches = [SampledBatch({"a": [], "b": []}, 10), SampledBatch({"a": []}, 20)]
    for batch in batches:
        buffer.push(batch)

    buffer.forget("a")

    assert [set(batch.fragments) for batch in batches] == [{"b"}, set()]
    assert buffer.unused_env_steps == 30
    assert [batch.num_env_steps for batch in buffer.due()] == [10, 20]
