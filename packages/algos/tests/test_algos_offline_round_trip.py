"""Any episodes, written and read: every step is there exactly once, and nothing has changed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlmodule_algos.offline import OfflineEpisode, read_episodes, stack_sequences, stack_steps, write_episodes
from rlmodule_core.nest import leaves

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
pytest.importorskip("pyarrow", reason="the extra `offline` is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = ["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"]
KEYS = st.one_of(
    st.text(max_size=4), st.sampled_from(["0", "1", "obs", "a.b", "%", "%2E", ".", "½", "\0", "../x", "a\\b"])
)
LEAF_KINDS = st.tuples(
    st.sampled_from(DTYPES), st.lists(st.integers(1, 3), max_size=3).map(tuple)
)  # dtype and shape
KINDS = st.recursive(
    LEAF_KINDS.map(lambda kind: ("leaf", kind)),
    lambda kinds: st.one_of(
        st.dictionaries(KEYS, kinds, min_size=1, max_size=3).map(lambda parts: ("dict", parts)),
        st.lists(kinds, min_size=1, max_size=3).map(lambda parts: ("tuple", parts)),
    ),
    max_leaves=5,
)


def drawn(kind: Any, length: int, rng: np.random.Generator) -> Any:
    """Return a nest of random arrays `[length, ...]` of a kind."""
    form, parts = kind
    if form == "dict":
        return {key: drawn(part, length, rng) for key, part in parts.items()}
    if form == "tuple":
        return tuple(drawn(part, length, rng) for part in parts)
    dtype, shape = parts
    return rng.integers(0, 100, (length, *shape)).astype(dtype)


@st.composite
def recorded(draw: Any) -> list[OfflineEpisode]:
    obs, actions = draw(KINDS), draw(KINDS)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    return [
        OfflineEpisode(
            obs=drawn(obs, steps + 1, rng),
            actions=drawn(actions, steps, rng),
            rewards=rng.normal(size=steps).astype(np.float32),
            terminated=draw(st.booleans()),
            truncated=draw(st.booleans()),
        )
        for steps in lengths
    ]


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@settings(max_examples=60, deadline=None)
@given(episodes=recorded())
def test_episodes_come_back_equal_with_their_structure_and_dtypes(
    suffix: str, episodes: list[OfflineEpisode]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"data{suffix}"
        write_episodes(path, episodes)

        assert read_episodes(path) == episodes


@settings(max_examples=60, deadline=None)
@given(episodes=recorded(), max_seq_len=st.integers(1, 9))
def test_every_real_step_is_in_one_sequence_exactly_once(
    episodes: list[OfflineEpisode], max_seq_len: int
) -> None:
    steps = stack_steps(episodes)
    sequences = stack_sequences(episodes, max_seq_len)

    assert len(steps["rewards"]) == sum(episode.num_steps for episode in episodes) == sequences.mask.sum()
    for column, stacked in zip(leaves(sequences.columns), leaves(steps), strict=True):
        np.testing.assert_array_equal(column[sequences.mask], stacked)
        assert not column[~sequences.mask].any()
    assert sequences.is_start.sum() == len(episodes)
