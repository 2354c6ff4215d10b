"""Cutting rows into sequences and batches into minibatches, held against loops that do it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmodule_algos import PPOConfig
from rlmodule_algos.batching import Fragment, SequenceIndex, SequenceStarts, sequence_index
from rlmodule_algos.learning import Limit
from rlmodule_algos.learning.learner import minibatches
from rlmodule_algos.sampling.recurrent_state import SequenceMarks
from rlmodule_core import NumpyRLModule, RLModuleConfig

Array = npt.NDArray[Any]


class Remembering(NumpyRLModule):
    """Has nothing but a state and settings."""

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        return {}

    _forward_inference = _forward_train = _forward_exploration

    def get_initial_state(self) -> dict[str, Any]:
        return {"h": np.zeros(1, np.float32)}

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no weights."""


class Rows(NamedTuple):
    """Which steps end an episode, one list a row."""

    ends: list[list[bool]]
    max_len: int
    burn_in: int


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    max_len = draw(st.integers(1, 7))
    length = st.integers(0, 25)
    ends = [
        draw(st.lists(st.booleans() if draw(st.booleans()) else st.just(False), min_size=n, max_size=n))
        for n in draw(st.lists(length, min_size=1, max_size=4))
    ]
    ends[0] = ends[0] or [False]  # a fragment has some step
    return Rows(ends, max_len, draw(st.integers(0, max_len - 1)))


def fragment_of(case: Rows) -> Fragment:
    """Record the rows as a sampler does: the state before step t of row b is 100 b + t."""
    lengths = np.array([len(row) for row in case.ends])
    shape = (int(lengths.max()), len(lengths))
    config = RLModuleConfig(model_config_dict={"max_seq_len": case.max_len, "burn_in": case.burn_in})
    marks = SequenceMarks(Remembering(config), len(lengths))
    truncated = np.zeros(shape, np.bool_)
    fresh = np.arange(len(lengths)) % 2 == 0  # the other rows go on with an episode of the last fragment
    for t in range(shape[0]):
        there = np.flatnonzero(lengths > t)
        marks.step(t, there, {"h": (100.0 * there + t)[:, None]}, fresh[there])
        fresh[there] = False
        ended = np.array([row for row in there if case.ends[row][t]], np.int64)
        truncated[t, ended] = fresh[ended] = True
        marks.restart(ended)
    number = 1.0 + np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    index = np.argwhere(truncated)[::-1]  # in no order that anyone may rely on
    return Fragment(
        obs=np.zeros((shape[0] + 1, shape[1])),
        actions=number,
        action_logp=number,
        rewards=number,
        terminated=np.zeros(shape, np.bool_),
        truncated=truncated,
        lengths=lengths,
        final_obs=index.astype(np.float32),
        final_index=index,
        sequences=marks.finish(),
    )


def cut_by_hand(case: Rows) -> dict[tuple[int, int], tuple[list[int], bool]]:
    """(first step, row) -> the steps of the sequence, and whether its last one ends an episode."""
    found = {}
    for row, ends in enumerate(case.ends):
        begin = 0
        while begin < len(ends):
            stop = begin
            while stop < len(ends) - 1 and not ends[stop]:
                stop += 1
            episode = list(range(begin, stop + 1))
            for first in episode[:: case.max_len - case.burn_in]:
                steps = [t for t in episode if first <= t < first + case.max_len]
                found[first, row] = (steps, ends[steps[-1]])
            begin = stop + 1
    return found


@settings(max_examples=150, deadline=None)
@given(rows())
def test_rows_are_cut_as_by_hand_and_no_sequence_holds_two_episodes(case: Rows) -> None:
    fragment = fragment_of(case)
    index, expected = sequence_index(fragment), cut_by_hand(case)
    assert fragment.sequences is not None
    assert index.time.shape == (len(expected), case.max_len)
    for k, (first, row) in enumerate(fragment.sequences.index.tolist()):
        steps, ends = expected.pop((first, row))
        assert fragment.sequences.state["h"][k] == 100.0 * row + first
        assert index.row[k].tolist() == [row]
        assert index.lengths[k] == len(steps)
        assert index.time[k].tolist() == steps + [first] * (case.max_len - len(steps))
        assert index.mask[k].tolist() == [p < len(steps) for p in range(case.max_len)]
        begins = case.ends[row][first - 1] if first else row % 2 == 0
        burned = 0 if begins else case.burn_in
        assert index.learned[k].tolist() == [burned <= p < len(steps) for p in range(case.max_len)]
        assert (index.final[k] >= 0) == ends
        if ends:
            assert fragment.final_obs[index.final[k]].tolist() == [steps[-1], row]
    assert not expected


@settings(max_examples=150, deadline=None)
@given(rows())
def test_each_step_is_learned_once_and_with_a_burn_in_at_most_once(case: Rows) -> None:
    fragment = fragment_of(case)
    index = sequence_index(fragment)
    times = np.zeros(fragment.rewards.shape, np.int64)
    for k, position in np.argwhere(index.learned):
        times[index.time[k, position], index.row[k, 0]] += 1
    assert times.max() <= 1
    assert not times[~fragment.mask].any()
    if case.burn_in == 0:
        assert (times[fragment.mask] == 1).all()
    for row, ends in enumerate(case.ends):  # left out are the first few of a row that goes on
        known = row % 2 == 0
        for t, end in enumerate(ends):
            assert times[t, row] == (known or t >= case.burn_in)
            known |= end


@settings(max_examples=150, deadline=None)
@given(rows())
def test_scattering_what_was_gathered_gives_the_column_back(case: Rows) -> None:
    fragment = fragment_of(case)
    index, shape = sequence_index(fragment), fragment.rewards.shape
    column = {"one": fragment.rewards, "many": (np.stack([fragment.rewards] * 3, axis=-1),)}
    back = index.scatter(index.gather(column), (shape[0], shape[1]))
    np.testing.assert_array_equal(back["one"], np.where(fragment.mask, fragment.rewards, 0.0))
    np.testing.assert_array_equal(back["many"][0][..., 2], back["one"])


def test_of_a_step_in_two_sequences_the_value_behind_the_burn_in_is_kept() -> None:
    case = Rows([[False] * 6], max_len=4, burn_in=2)
    index: SequenceIndex = sequence_index(fragment_of(case))
    assert index.time.tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 4, 4]]
    named = 10.0 * np.arange(3)[:, None] + np.arange(4)
    assert index.scatter(named, (6, 1)).ravel().tolist() == [0, 1, 2, 3, 12, 13]


def test_a_sequence_ends_where_the_next_is_anew_so_that_no_step_is_learned_twice() -> None:
    """The first step was open while the weights moved, so the second one begins in a state of its own."""
    fragment = fragment_of(Rows([[False] * 5], max_len=4, burn_in=0))
    starts = SequenceStarts(
        index=np.array([[0, 0], [1, 0]]),
        state={"h": np.zeros((2, 1))},
        begins=np.array([True, False]),
        anew=np.array([True, True]),
        max_len=4,
    )
    index = sequence_index(replace(fragment, sequences=starts))
    assert index.lengths.tolist() == [1, 4]
    assert index.time[index.learned].tolist() == [0, 1, 2, 3, 4]
    assert index.final.tolist() == [-1, -1]


def test_a_fragment_of_a_stateless_module_has_no_sequences_to_cut() -> None:
    fragment = fragment_of(Rows([[False]], 3, 0))
    with pytest.raises(ValueError, match="its module was stateless"):
        sequence_index(Fragment(**{**vars(fragment), "sequences": None}))


# --- minibatches --------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=40), st.integers(1, 60))
def test_minibatches_hold_every_row_once_and_nearly_equal_numbers_of_steps(
    given_steps: list[int], size: int
) -> None:
    steps = np.array(given_steps)
    parts = list(minibatches(steps, size))

    covered = [row for start, stop in parts for row in range(start, stop)]
    assert covered == list(range(len(steps)))
    wanted = min(max(1, -(-sum(given_steps) // size)), len(steps))
    assert 1 <= len(parts) <= wanted
    if set(given_steps) == {1}:
        counts = [stop - start for start, stop in parts]
        assert len(parts) == wanted
        assert max(counts) - min(counts) <= 1
        assert max(counts) <= size
    before = [0, *np.cumsum(steps).tolist()]
    for part in range(1, wanted):  # each edge is as near to its place as whole rows allow
        place = part * sum(given_steps) // wanted
        nearest = min(abs(edge - place) for edge in before)
        assert any(abs(before[stop] - place) == nearest for _start, stop in [(0, 0), *parts])


def test_two_rows_that_fill_a_minibatch_each_are_two_minibatches() -> None:
    assert list(minibatches(np.array([3, 5]), 4)) == [(0, 1), (1, 2)]


# --- stopping early -----------------------------------------------------------------------------


class Moved(NamedTuple):
    total_loss: float
    mean_kl: float


class Stepped(NamedTuple):
    loss: Moved
    grad_norm: float
    applied: bool


class Drifting:
    """An updater whose KL is what it was told, step by step."""

    def __init__(self, kls: list[float]) -> None:
        self.kls = kls
        self.num_steps = 0

    def step(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> Stepped:
        self.num_steps += 1
        return Stepped(Moved(0.0, self.kls[self.num_steps - 1]), 0.0, True)


def small(**training: Any) -> PPOConfig:
    config = PPOConfig().environment("CartPole-v1").debugging(seed=0)
    defaults: dict[str, Any] = {"train_batch_size": 64, "minibatch_size": 16, "num_epochs": 2}
    return config.training(**{**defaults, "model": {"fcnet_hiddens": [8]}, **training})


def test_an_update_ends_behind_the_first_minibatch_that_exceeds_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with small().build() as algorithm:
        monkeypatch.setattr(algorithm.framework.bridge, "mean_of", lambda results: [0.0] * 3)
        for kls, steps in (([0.0, 0.1, 0.3, 0.0], 3), ([0.2] * 4, 4), ([0.21] * 4, 1), ([np.nan] * 4, 4)):
            updater = Drifting(kls)
            algorithm.learner._updaters["default_policy"] = updater  # type: ignore[assignment]
            algorithm.learner.update(
                "default_policy",
                {"row": np.arange(4)},
                num_epochs=1,
                minibatch_size=1,
                coefficients={},
                limit=Limit("mean_kl", 0.2),
            )
            assert updater.num_steps == steps


def test_an_update_without_rows_does_nothing() -> None:
    with small().build() as algorithm:
        rows = {"row": np.arange(0)}
        done = algorithm.learner.update(
            "default_policy", rows, num_epochs=2, minibatch_size=4, coefficients={}
        )
    assert (done.num_steps, done.num_skipped, done.means) == (0, 0, {})
