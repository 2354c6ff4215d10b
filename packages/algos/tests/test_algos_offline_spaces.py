"""Recorded numbers against the spaces they should be of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos.offline import OfflineDataError, OfflineEpisode, check_episodes

OBS = spaces.Dict(
    {
        "arm": spaces.Tuple((spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3, start=-1))),
        "eye": spaces.Box(0, 255, (4, 4), np.uint8),
        "keys": spaces.MultiBinary(3),
    }
)
ACTIONS = spaces.Dict(
    {"turn": spaces.MultiDiscrete([2, 3], start=[0, 5]), "speed": spaces.Box(0.0, 2.0, (1,))}
)


def obs(**changed: Any) -> dict[str, Any]:
    arm = (np.zeros((3, 2), np.float32), np.array([-1, 0, 1]))
    given = {"arm": arm, "eye": np.zeros((3, 4, 4), np.uint8), "keys": np.ones((3, 3), np.int8)}
    return {name: part for name, part in (given | changed).items() if part is not None}


def actions(**changed: Any) -> dict[str, Any]:
    given = {"turn": np.array([[0, 5], [1, 7]]), "speed": np.array([[0.0], [2.0]], np.float32)}
    return given | changed


def episode(observations: Any = None, acted: Any = None) -> OfflineEpisode:
    return OfflineEpisode(
        obs=obs() if observations is None else observations,
        actions=actions() if acted is None else acted,
        rewards=np.zeros(2, np.float32),
        terminated=True,
        truncated=False,
    )


def refusal(given: Any, observation_space: Any = OBS, action_space: Any = ACTIONS, **where: str) -> str:
    with pytest.raises(OfflineDataError) as caught:
        check_episodes(given, observation_space, action_space, **where)
    return str(caught.value)


def test_what_the_spaces_sample_is_accepted() -> None:
    check_episodes([episode(), episode()], OBS, ACTIONS)


def test_float64_is_accepted_where_a_float32_box_is_and_an_observation_may_leave_its_bounds() -> None:
    wide = (np.full((3, 2), 7.0), np.array([0, 0, 0], np.int8))

    check_episodes([episode(obs(arm=wide), actions(speed=np.ones((2, 1))))], OBS, ACTIONS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            episode(obs(eye=None)),
            "obs: expected a mapping with the keys ['arm', 'eye', 'keys'], got one with the",
        ),
        (
            episode(np.zeros((3, 2))),
            "obs: expected a mapping with the keys ['arm', 'eye', 'keys'], got ndarray",
        ),
        (episode(obs(arm=(np.zeros((3, 2)),) * 3)), "obs.arm: expected a tuple of 2, got a tuple of 3"),
        (episode(obs(eye={"x": np.zeros(3)})), "obs.eye: expected an array, got a dict"),
        (
            episode(obs(eye=np.zeros((3, 4, 4), np.float32))),
            "obs.eye: expected uint8 [4, 4], got float32 [4, 4]; give the numbers as the environment does",
        ),
        (
            episode(obs(eye=np.zeros((3, 4, 4), np.int64))),
            "obs.eye: expected uint8 [4, 4], got int64 [4, 4]; convert them with .astype(np.uint8)",
        ),
        (episode(obs(eye=np.zeros((3, 4), np.uint8))), "obs.eye: expected uint8 [4, 4], got uint8 [4]"),
        (
            episode(obs(arm=(np.zeros((3, 2)), np.zeros(3)))),
            "obs.arm[1]: expected integer [], got float64 []; classes are integers, so convert them",
        ),
        (
            episode(obs(arm=(np.zeros((3, 2)), np.array([0, 1, 2])))),
            "obs.arm[1]: 2 at step 2 is outside [-1, 1], 1 classes in all; classes count from",
        ),
        (episode(obs(keys=np.full((3, 3), 2))), "obs.keys: 2 at step 0 is outside [0, 1], 9 bits in all"),
        (
            episode(acted=actions(turn=np.array([[0, 5], [1, 4]]))),
            "actions.turn: 4 at step 1 is outside [5, 7], 1 classes in all",
        ),
        (
            episode(acted=actions(turn=np.array([[0, 5], [1, 8]]))),
            "actions.turn: 8 at step 1 is outside [5, 7], 1 classes in all",
        ),
        (
            episode(acted=actions(speed=np.array([[0.5], [2.25]]))),
            "actions.speed: 2.25 at step 1 is outside [0, 2], 1 actions in all; "
            "record what the environment got: clip what a policy drew beyond the bounds, or unsquash",
        ),
    ],
)
def test_what_is_not_of_the_space_is_refused_with_its_path_and_step(given: OfflineEpisode, said: str) -> None:
    assert said in refusal([given])


def test_problems_of_all_episodes_are_told_at_once_behind_where_they_are() -> None:
    dark = episode(obs(eye=np.zeros((3, 4), np.uint8)), actions(speed=np.full((2, 1), -1.0)))

    said = refusal([episode(), dark, dark], where="offline_data")

    assert said.splitlines()[0] == "offline_data: 4 problems"
    assert [line.split(":")[:2] for line in said.splitlines()[1:]] == [
        ["  episode 1", " obs.eye"],
        ["  episode 1", " actions.speed"],
        ["  episode 2", " obs.eye"],
        ["  episode 2", " actions.speed"],
    ]


def test_a_space_without_arrays_is_refused() -> None:
    assert "obs: the space Text(" in refusal([episode(np.zeros(3))], observation_space=spaces.Text(3))


def test_each_agent_is_held_to_its_own_spaces() -> None:
    simple = OfflineEpisode(
        obs=np.zeros(3),
        actions=np.array([0, 4]),
        rewards=np.zeros(2, np.float32),
        terminated=True,
        truncated=False,
    )
    seen = {"big": OBS, "small": spaces.Box(-1.0, 1.0, ())}
    done = {"big": ACTIONS, "small": spaces.Discrete(5)}
    check_episodes([{"big": episode(), "small": simple}, {"small": simple}], seen, done)

    said = refusal([{"big": simple, "medium": simple}], seen, done)

    assert "episode 0: agent 'big': obs: expected a mapping" in said
    assert "episode 0: agent 'medium': there is no such agent; there are ['big', 'small']" in said
