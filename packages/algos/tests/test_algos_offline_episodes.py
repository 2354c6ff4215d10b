"""Episodes as they are given in memory, and what is said of those that do not fit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rlmodule_algos.offline import OfflineDataError, OfflineEpisode, read_episodes


def columns(steps: int = 3, **changed: Any) -> dict[str, Any]:
    """The columns of an episode of `steps` steps that ends terminated."""
    given: dict[str, Any] = {
        "obs": np.arange(steps + 1, dtype=np.float32)[:, None],
        "actions": np.arange(steps),
        "rewards": np.ones(steps),
        "terminated": np.arange(steps) == steps - 1,
        "truncated": np.zeros(steps, np.bool_),
    }
    return {**given, **changed}


def episode(steps: int = 3, **changed: Any) -> OfflineEpisode:
    given = columns(steps) | {"terminated": True, "truncated": False} | changed
    return OfflineEpisode(**given)


def refusal(input_: Any) -> str:
    with pytest.raises(OfflineDataError) as caught:
        read_episodes(input_)
    return str(caught.value)


def test_a_list_of_columns_is_read_as_episodes_with_flags_as_arrays_or_as_bools() -> None:
    by_step, by_bool = read_episodes([columns(3), columns(3, terminated=True, truncated=False)])

    assert by_step == by_bool == episode(3)
    assert isinstance(by_step, OfflineEpisode)
    assert by_step.num_steps == 3
    assert by_step.rewards.dtype == np.float32


@pytest.mark.parametrize(
    "changed",
    [
        {"terminated": False},
        {"truncated": True},
        {"actions": np.array([0, 1, 1])},
        {"actions": np.arange(3, dtype=np.int32)},
        {"obs": {"x": np.zeros((4, 1), np.float32)}},
        {"rewards": np.array([1, 1, 2])},
    ],
)
def test_episodes_that_differ_in_anything_are_not_equal(changed: dict[str, Any]) -> None:
    assert episode() == episode()
    assert episode(**changed) != episode()


def test_an_episode_that_neither_terminated_nor_was_truncated_is_one_that_was_merely_cut() -> None:
    (cut,) = read_episodes([columns(2, terminated=False, truncated=False)])

    assert cut == episode(2, terminated=False)


def test_nested_observations_stay_nested_and_python_lists_become_arrays() -> None:
    obs = {"arm": (np.zeros((3, 2)), [1, 2, 3]), "eye": np.zeros((3, 4, 4), np.uint8)}

    (read,) = read_episodes([columns(2, obs=obs, actions=[0, 1])])

    assert isinstance(read, OfflineEpisode)
    assert read.obs["arm"][1].tolist() == [1, 2, 3]
    assert read.obs["eye"].dtype == np.uint8
    assert read.actions.dtype == np.int64


def test_episodes_of_many_agents_are_mappings_by_agent_which_may_hold_columns_or_episodes() -> None:
    given: list[dict[str, Any]] = [{"a": columns(3), "b": episode(2)}, {"b": columns(1)}]

    first, second = read_episodes(given)

    assert first == {"a": episode(3), "b": episode(2)}
    assert second == {"b": episode(1)}


def test_a_dict_observation_whose_keys_are_columns_names_is_still_an_observation() -> None:
    obs = {"obs": np.zeros((3, 1)), "actions": np.zeros((3, 1))}

    (read,) = read_episodes([columns(2, obs=obs)])

    assert isinstance(read, OfflineEpisode)
    assert sorted(read.obs) == ["actions", "obs"]


def test_a_callable_may_return_any_of_the_other_forms() -> None:
    assert read_episodes(lambda: [columns(2)]) == [episode(2)]


def test_all_problems_of_all_episodes_are_told_at_once_with_their_place() -> None:
    bad = columns(3, obs=np.zeros((3, 1)), actions=np.zeros(4))
    flagged = columns(3, terminated=[True, False, True])
    infinite = columns(3, rewards=[1.0, np.nan, np.inf], obs={"x": np.array([0, 0, np.inf, 0])})

    said = refusal([columns(), bad, flagged, infinite])

    assert said.splitlines() == [
        "offline data: 5 problems",
        "  episode 1: obs: expected [4, ...], one more than the 3 rewards: the final one too, got [3, 1]",
        "  episode 1: actions: expected [3, ...], as many as rewards, got [4]",
        "  episode 2: terminated: True at step 0 of 3; an episode ends there, so the rest is another",
        "  episode 3: rewards: nan at step 1, 2 numbers in all are not finite",
        "  episode 3: obs.x: inf at step 2, 1 numbers in all are not finite",
    ]


def test_of_many_problems_the_first_are_listed_and_the_others_counted() -> None:
    said = refusal([columns(actions=np.zeros(1))] * 30)

    assert said.splitlines()[0] == "offline data: 30 problems"
    assert said.splitlines()[-1] == "  ... and 22 more"
    assert len(said.splitlines()) == 10


@pytest.mark.parametrize(
    ("input_", "said"),
    [
        ([], "expected at least one episode, got an empty list"),
        (None, "expected a path, a Minari dataset's id, a list of episodes or a callable, got NoneType"),
        (columns(), "got dict; put a single episode in a list"),
        (episode(), "got OfflineEpisode; put a single episode in a list"),
        ([3], "episode 0: expected a mapping of columns, got int"),
        ([{}], "no column 'obs'; there are []"),
        ([columns(0)], "episode 0: expected at least one step, got none"),
        ([columns(rewards=np.ones((3, 1)))], "rewards: expected [T], got [3, 1]"),
        ([columns(rewards=1e300)], "rewards: expected [T], got []"),
        ([columns(rewards=[1e300, 0.0, 0.0])], "rewards: inf at step 0"),
        ([columns(terminated=np.zeros(4))], "terminated: expected [3], as many as rewards, got [4]"),
        ([columns(truncated=[0, 0, 2])], "truncated: expected a bool, or bools [T], got int64 [3]"),
        (
            [columns(obs=[{"x": 1}] * 4)],
            "obs: expected an array of numbers, got dtype object; stack the steps",
        ),
        ([columns(actions=["left"] * 3)], "actions: expected an array of numbers, got dtype <U4"),
        ([columns(obs=[[1], [1, 2], [1], [1]])], "obs: expected an array of numbers: "),
        (
            [{"a": {"reward": {}}}],
            "episode 0: agent 'a': no column 'rewards'; if 'reward' is that, rename it",
        ),
        ([columns(), {"a": columns()}], "some episodes are of one agent, and some are {agent id: episode}"),
        (
            [{"a": columns(), "b": columns(actions=np.zeros(1))}],
            "episode 0: agent 'b': actions: expected [3, ",
        ),
        (
            [{"a": columns()}, {"b": columns()}, {"b": columns(obs=np.zeros((4, 2)))}],
            "agent 'b': episode 2: obs: expected [1] as in episode 1, got [2]",
        ),
        ([columns(), columns(obs=np.zeros((4, 2)))], "episode 1: obs: expected [1] as in episode 0, got [2]"),
        (
            [columns(), columns(obs={"x": np.zeros(4)})],
            "episode 1: obs.x: expected no such column as in episode 0, got []",
        ),
        (lambda: 1 / 0, "the callable raised ZeroDivisionError: division by zero"),
        (lambda: list, "the callable returned another callable"),
    ],
)
def test_what_is_no_data_is_refused_in_words(input_: Any, said: str) -> None:
    assert said in refusal(input_)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("action", "actions"), ("observations", "obs"), ("reward", "rewards"), ("terminations", "terminated")],
)
def test_a_missing_column_is_answered_with_the_name_that_is_nearest_or_with_those_there_are(
    wrong: str, right: str
) -> None:
    given = columns()
    given[wrong] = given.pop(right)

    said = refusal([given])

    assert (
        f"no column {right!r}; if {wrong!r} is that, rename it" in said
        or f"no column {right!r}; there are" in said
    )
    assert wrong in said


def test_columns_that_are_none_of_ours_are_left_alone() -> None:
    assert read_episodes([columns(infos=[{}, {}, {}])]) == [episode()]


@pytest.mark.parametrize("copied", [pickle.loads, None])
def test_an_error_survives_pickling_as_between_processes(copied: Callable[[bytes], Any] | None) -> None:
    error = OfflineDataError("here", ["one", "two"])
    again = copied(pickle.dumps(error)) if copied else error

    assert str(again) == "here: 2 problems\n  one\n  two"
    assert again.problems == ["one", "two"]
    assert isinstance(again, ValueError)
