"""Multi-agent environments as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos.envs import AgentGroups, MultiAgentStep, SyncMultiAgentVectorEnv
from rlmodule_algos.testing import ScriptedMultiAgentEnv

AGENTS = ["ann", "bob", "cy"]
NO: dict[str, Any] = {"__all__": False}
YES: dict[str, Any] = {"__all__": True}


def scripted(*answers: Any) -> ScriptedMultiAgentEnv:
    return ScriptedMultiAgentEnv(
        dict.fromkeys(AGENTS, spaces.Box(-1, 1, (2,))), dict.fromkeys(AGENTS, spaces.Discrete(3)), answers
    )


def seen(*agents: str, value: float = 0.5) -> dict[str, Any]:
    return {agent: np.full(2, value, np.float32) for agent in agents}


def start(*agents: str) -> tuple[Any, Any]:
    return seen(*agents), {}


def act(env: SyncMultiAgentVectorEnv, *rows: str) -> MultiAgentStep:
    """Step with the agents named for each row, "ann bob" say; everyone's action is the row's number."""
    acting = np.array([[agent in row.split() for row in rows] for agent in env.possible_agents])
    numbers = dict.fromkeys(env.possible_agents, np.arange(len(rows)))
    return env.step(env.groups.columns(numbers), acting)


def who(flags: Any, row: int = 0) -> str:
    return " ".join(agent for agent, rows in zip(AGENTS, flags, strict=True) if rows[row])


def played(*answers: Any, turns: list[str]) -> MultiAgentStep:
    """Return what the last of these turns of one environment came to."""
    env = SyncMultiAgentVectorEnv([scripted(*answers)])
    env.reset()
    for turn in turns:
        step = act(env, turn)
    return step


# --- what comes is told as arrays -------------------------------------------------------------


def test_agents_that_take_turns_are_told_row_by_row() -> None:
    first = scripted(start("ann"), (seen("bob", value=0.25), {"ann": 1}, NO, NO, {}))
    second = scripted(start("bob", "cy"), (seen("cy"), {"ann": -2.0, "bob": True}, NO, NO, {}))
    env = SyncMultiAgentVectorEnv([first, second])

    begun = env.reset()
    assert (who(begun.has_obs, 0), who(begun.has_obs, 1)) == ("ann", "bob cy")
    step = act(env, "ann", "bob cy")

    assert first.given == [{"ann": 0}]
    assert second.given == [{"bob": 1, "cy": 1}]
    assert (who(step.has_obs, 0), who(step.has_obs, 1)) == ("bob", "cy")
    shown = env.groups.by_agent(step.obs)
    np.testing.assert_array_equal(shown["bob"][0], [0.25, 0.25])
    np.testing.assert_array_equal(shown["cy"][1], [0.5, 0.5])
    assert step.rewards.tolist() == [[1.0, -2.0], [0.0, 1.0], [0.0, 0.0]]
    assert not step.over.any()
    for array, dtype in ((step.rewards, np.float32), (step.has_obs, bool), (step.terminated, bool)):
        assert array.dtype == dtype
        assert array.shape == (3, 2)


# --- who leaves, and when it is over ----------------------------------------------------------


def test_all_speaks_only_for_those_in_the_episode_whose_own_flags_are_false() -> None:
    mine = {"ann": True, **NO}
    for terminateds, truncateds in ((mine, YES), (YES, mine)):
        answers = [start("ann", "bob"), (seen("ann", "bob"), {}, terminateds, truncateds, {})]
        step = played(*answers, turns=["ann bob"])
        by_all = ("ann", "bob") if terminateds is mine else ("bob", "ann")
        assert (who(step.terminated), who(step.truncated)) == by_all  # and not cy, who never came
        assert step.over.all()


@pytest.mark.parametrize(("terminateds", "truncateds"), [(YES, NO), (NO, YES), (YES, YES)])
def test_all_in_either_dict_ends_the_episode(terminateds: Any, truncateds: Any) -> None:
    step = played(start("ann"), (seen("ann"), {}, terminateds, truncateds, {}), turns=["ann"])
    assert step.over.all()
    assert who(step.terminated) == ("ann" if terminateds["__all__"] else "")
    assert who(step.truncated) == ("ann" if truncateds["__all__"] else "")


def test_the_episode_is_over_when_everyone_has_left_whatever_all_says() -> None:
    answers = [
        start("ann", "bob"),
        (seen("bob"), {}, {"ann": True, **NO}, NO, {}),
        ({}, {"bob": 1.0}, {"bob": True, **NO}, NO, {}),
    ]
    assert not played(*answers, turns=["ann bob"]).over.any()
    assert played(*answers, turns=["ann bob", "bob"]).over.all()


def test_a_step_in_which_nobody_has_an_observation_goes_on_without_actions() -> None:
    answers = [start("ann"), ({}, {}, NO, NO, {}), (seen("ann"), {"ann": 2.0}, NO, NO, {})]
    assert not played(*answers, turns=["ann"]).over.any()
    assert who(played(*answers, turns=["ann", ""]).has_obs) == "ann"


def test_an_agent_that_left_may_come_back_with_an_observation() -> None:
    answers = [
        start("ann", "bob"),
        (seen("bob"), {}, {"ann": True, **NO}, NO, {}),
        (seen("ann", "bob"), {"ann": 0.5}, NO, NO, {}),
        (seen("ann"), {"ann": 3.0}, {"bob": True, **NO}, NO, {}),
    ]
    step = played(*answers, turns=["ann bob", "bob", "ann bob"])
    assert step.rewards[0].tolist() == [3.0]
    assert who(step.has_obs) == "ann"


@pytest.mark.parametrize("flags", [{"cy": True, **NO}, {"cy": False, **YES}])
def test_an_agent_that_comes_and_leaves_in_one_step_is_not_told_of(flags: Any) -> None:
    leaves: Any = ({}, {}, {"ann": True, **NO}, NO, {})
    answers = [start("ann"), (seen("ann", "cy"), {}, flags, NO, {}), leaves]
    step = played(*answers, turns=["ann"])
    assert who(step.has_obs) == "ann"
    assert "cy" not in who(step.terminated)
    if not step.over.all():
        assert played(*answers, turns=["ann", "ann"]).over.all()  # nobody waits for cy


def test_those_that_left_may_be_named_again_with_nothing_new() -> None:
    answers = [
        start("ann", "bob"),
        (seen("bob"), {"ann": 1.0}, {"ann": True, **NO}, NO, {}),
        (seen("bob"), {"ann": 0.0}, {"ann": True, **NO}, {"ann": True, **NO}, {}),
    ]
    step = played(*answers, turns=["ann bob", "bob"])
    assert who(step.terminated) == who(step.truncated) == ""


def test_who_did_not_come_yet_may_be_paid_and_flagged() -> None:
    step = played(start("ann"), (seen("ann"), {"bob": -1.0}, {"bob": True, **NO}, NO, {}), turns=["ann"])
    assert step.rewards[1].tolist() == [-1.0]
    assert who(step.terminated) == ""


def test_a_terminated_agent_needs_no_final_observation() -> None:
    both = {"ann": True, **NO}
    step = played(start("ann", "bob"), (seen("bob"), {}, both, both, {}), turns=["ann bob"])
    assert who(step.terminated) == who(step.truncated) == "ann"
    assert who(step.has_obs) == "bob"


# --- resets and seeds -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_environment_may_use_its_memory_again_as_soon_as_it_is_called_next(dtype: Any) -> None:
    memory = np.zeros(2, dtype)  # of all copies

    class Sharing(ScriptedMultiAgentEnv):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            memory[:] = seed or 0
            return {"ann": memory}, {}

    one = dict.fromkeys(["ann"], spaces.Box(-9, 9, (2,))), dict.fromkeys(["ann"], spaces.Discrete(3))
    env = SyncMultiAgentVectorEnv([Sharing(*one, []) for _ in range(3)])

    assert env.reset(seed=4).obs[0][:, 0].tolist() == [4, 5, 6]


def test_environments_are_seeded_one_after_the_other_and_only_in_the_rows_that_are_reset() -> None:
    envs = [scripted(start("ann")) for _ in range(3)]
    vector = SyncMultiAgentVectorEnv(envs)
    vector.reset(seed=5)
    step = vector.reset(rows=np.array([False, True, False]))
    assert step.has_obs[0].tolist() == [False, True, False]
    vector.reset(seed=9, rows=np.array([False, False, True]))
    assert [env.seeds for env in envs] == [[5], [6, None], [7, 11]]


def test_the_rows_that_are_not_reset_go_on() -> None:
    moves: Any = (seen("ann"), {}, NO, NO, {})
    envs = [scripted(start("ann"), moves, moves) for _ in range(2)]
    vector = SyncMultiAgentVectorEnv(envs)
    vector.reset()
    act(vector, "ann", "ann")
    vector.reset(rows=np.array([True, False]))
    act(vector, "ann", "ann")
    assert [env.position for env in envs] == [2, 3]


def test_a_row_that_is_over_must_be_reset_before_anything_is_stepped() -> None:
    ends: Any = (seen("ann"), {}, YES, NO, {})
    envs = [scripted(start("ann"), (seen("ann"), {}, NO, NO, {})), scripted(start("ann"), ends)]
    vector = SyncMultiAgentVectorEnv(envs)
    with pytest.raises(ValueError, match=r"environment 0 .*reset it before the next step"):
        act(vector, "ann", "ann")
    vector.reset()
    act(vector, "ann", "ann")
    with pytest.raises(ValueError, match=r"environment 1 \(ScriptedMultiAgentEnv\): its episode is over"):
        act(vector, "ann", "")
    assert [len(env.given) for env in envs] == [1, 1]


@pytest.mark.parametrize("turn", ["", "bob", "ann bob"])
def test_exactly_those_with_an_observation_act(turn: str) -> None:
    vector = SyncMultiAgentVectorEnv([scripted(start("ann"))])
    vector.reset()
    with pytest.raises(ValueError, match=r"\['ann'\], must act, got actions of \[.*\]"):
        act(vector, turn)


# --- agents of equal spaces -------------------------------------------------------------------


def test_columns_hold_agents_of_equal_spaces_side_by_side_wherever_they_stand_among_all() -> None:
    small, large, move = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (3,)), spaces.Discrete(3)
    seen_by = {"ann": small, "bob": large, "cy": small}
    groups = AgentGroups(AGENTS, seen_by, dict.fromkeys(AGENTS, move), num_envs=2)
    assert groups.members == [["ann", "cy"], ["bob"]]

    by_agent = {agent: np.full((2, *seen_by[agent].shape), number) for number, agent in enumerate(AGENTS)}
    columns = groups.columns(by_agent)
    assert [column[:, 0].tolist() for column in columns] == [[0, 0, 2, 2], [1, 1]]
    assert {agent: part.tolist() for agent, part in groups.by_agent(columns).items()} == {
        agent: part.tolist() for agent, part in by_agent.items()
    }
    pairs = np.arange(6)  # ann, ann, bob, bob, cy, cy
    split = [(group, mine.tolist(), groups.places(mine).tolist()) for group, mine in groups.split(pairs)]
    assert split == [(0, [0, 1, 4, 5], [0, 1, 2, 3]), (1, [2, 3], [0, 1])]


def test_agents_that_share_observations_but_not_actions_stand_apart() -> None:
    same = spaces.Box(-1, 1, (2,))
    moves = {"ann": spaces.Discrete(2), "bob": spaces.Discrete(3)}
    groups = AgentGroups(["ann", "bob"], dict.fromkeys(moves, same), moves, num_envs=1)
    assert groups.members == [["ann"], ["bob"]]
    assert list(groups.by_agent([None, np.zeros(1)])) == ["bob"]  # nobody of the first group has a column
