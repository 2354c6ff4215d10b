"""What is refused of multi-agent environments, and how it is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import EnvError
from rlmodule_algos.envs import MultiAgentStep, SyncMultiAgentVectorEnv
from rlmodule_algos.testing import ScriptedMultiAgentEnv

AGENTS = ["ann", "bob", "cy"]
NO: dict[str, Any] = {"__all__": False}
YES: dict[str, Any] = {"__all__": True}


def scripted(*answers: Any, space: Any = None) -> ScriptedMultiAgentEnv:
    seeing = dict.fromkeys(AGENTS, space or spaces.Box(-1, 1, (2,)))
    return ScriptedMultiAgentEnv(seeing, dict.fromkeys(AGENTS, spaces.Discrete(3)), answers)


def seen(*agents: str, value: float = 0.5) -> dict[str, Any]:
    return {agent: np.full(2, value, np.float32) for agent in agents}


def start(*agents: str) -> tuple[Any, Any]:
    return seen(*agents), {}


def act(env: SyncMultiAgentVectorEnv, *rows: str) -> MultiAgentStep:
    """Step with the agents named for each row, "ann bob" say; everyone's action is the row's number."""
    acting = np.array([[agent in row.split() for row in rows] for agent in env.possible_agents])
    numbers = dict.fromkeys(env.possible_agents, np.arange(len(rows)))
    return env.step(env.groups.columns(numbers), acting)


FINE: dict[Any, Any] = seen("ann")
WRONG_STEPS: dict[str, tuple[Any, str]] = {
    "raises": (KeyError("no map"), "of episode 1: it raised KeyError: 'no map'"),
    "no tuple": (None, r"expected the tuple \(observations, rewards, .*infos\), got NoneType"),
    "gymnasium's old four": ((FINE, {}, NO, {}), "got a tuple of 4"),
    "observations no dict": ((FINE["ann"], {}, NO, NO, {}), "observations: expected a dict by agent, got nd"),
    "rewards no dict": ((FINE, 1.0, NO, NO, {}), "rewards: expected a dict by agent, got float"),
    "flags no dict": ((FINE, {}, False, NO, {}), "terminateds: expected a dict by agent, got bool"),
    "infos no dict": ((FINE, {}, NO, NO, None), "infos: expected a dict by agent, got NoneType"),
    "unknown in observations": (({"dan": 0}, {}, NO, NO, {}), "observations: 'dan' is no agent; .*'bob'"),
    "unknown in rewards": ((FINE, {"dan": 0.0}, NO, NO, {}), "rewards: 'dan' is no agent"),
    "all in rewards": ((FINE, {"__all__": 0.0}, NO, NO, {}), "rewards: '__all__' is no agent"),
    "unknown in terminateds": ((FINE, {}, {3: True, "__all__": False}, NO, {}), "terminateds: 3 is no agent"),
    "unknown in truncateds": ((FINE, {}, NO, {"dan": True, **NO}, {}), "truncateds: 'dan' is no agent"),
    "no __all__ in terminateds": ((FINE, {}, {"ann": True}, NO, {}), r"terminateds: .*__all__.*\['ann'\]"),
    "no __all__ in truncateds": ((FINE, {}, NO, {}, {}), "truncateds: the key '__all__' is missing"),
    "flag no bool": ((FINE, {}, {"ann": 1, **NO}, NO, {}), "'ann': terminateds: expected a bool, got int 1"),
    "flag None": ((FINE, {}, NO, {"__all__": None}, {}), "truncateds: expected a bool, got NoneType None"),
    "reward no number": ((FINE, {"ann": "1"}, NO, NO, {}), "agent 'ann': reward: expected a number, got str"),
    "reward None": ((FINE, {"ann": None}, NO, NO, {}), "reward: expected a number, got NoneType None"),
    "reward a list": ((FINE, {"ann": [1.0]}, NO, NO, {}), r"expected a number, got list \[1.0\]"),
    "reward NaN": ((FINE, {"ann": np.nan}, NO, NO, {}), "expected a finite float32, got nan"),
    "reward infinite": ((FINE, {"ann": -np.inf}, NO, NO, {}), "expected a finite float32, got -inf"),
    "reward too large": ((FINE, {"ann": 1e39}, NO, NO, {}), r"expected a finite float32, got 1e\+39"),
    "shape": (({"ann": np.zeros(3, np.float32)}, {}, NO, NO, {}),
              r"'ann': observation: value: expected float32 \[2\], got float32 \[3\]"),
    "kind": (({"ann": np.zeros(2, complex)}, {}, NO, NO, {}),
             r"expected float32 \[2\], got complex128 \[2\]"),
    "no array": (({"ann": {"x": 1}}, {}, NO, NO, {}), r"expected float32 \[2\], got object \[\]"),
    "ragged": (({"ann": [[1.0], [1.0, 2.0]]}, {}, NO, NO, {}), "'ann': observation: .*inhomogeneous"),
    "no final observation": (({}, {}, NO, {"ann": True, **NO}, {}),
                             "'ann': it was truncated, but its final observation is missing; return it"),
    "no final observation for all": (({}, {}, NO, YES, {}), "'ann': it was truncated, but its final"),
    "pay after leaving": ((FINE, {"bob": 1.0}, NO, NO, {}),
                          "'bob': it left the episode before, so its reward must be 0 or absent, got 1.0"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_a_step_that_breaks_the_contract_is_refused_with_its_place(wrong: str) -> None:
    answer, message = WRONG_STEPS[wrong]
    first: Any = (seen("ann"), {}, {"bob": True, **NO}, NO, {})
    envs = [scripted(start("ann", "bob"), first, (FINE, {}, NO, NO, {}))]
    envs.append(scripted(start("ann", "bob"), first, answer))
    vector = SyncMultiAgentVectorEnv(envs)
    vector.reset()
    act(vector, "ann bob", "ann bob")
    with pytest.raises(EnvError, match=rf"^environment 1 \(ScriptedMultiAgentEnv\), step 2 .*{message}"):
        act(vector, "ann", "ann")
    with pytest.raises(ValueError, match=r"environment 0 .*reset it"):  # one went on, one did not
        act(vector, "ann", "ann")
    vector.reset()
    act(vector, "ann bob", "ann bob")


WRONG_RESETS: dict[str, tuple[Any, str]] = {
    "raises": (RuntimeError("licence"), "it raised RuntimeError: licence"),
    "observations alone": (seen("ann"), r"expected the tuple \(observations, infos\), got dict"),
    "no dict": ((np.zeros(2), {}), "observations: expected a dict by agent, got ndarray"),
    "unknown": (({"dan": np.zeros(2)}, {}), "observations: 'dan' is no agent"),
    "nobody": (({}, {}), "expected an observation for at least one agent, got none"),
    "shape": (({"ann": np.zeros(4)}, {}), r"agent 'ann': observation: .*got float64 \[4\]"),
}


@pytest.mark.parametrize("wrong", WRONG_RESETS)
def test_a_reset_that_breaks_the_contract_is_refused_with_its_place(wrong: str) -> None:
    answer, message = WRONG_RESETS[wrong]
    vector = SyncMultiAgentVectorEnv([scripted(start("ann")), scripted(answer)])
    with pytest.raises(EnvError, match=rf"^environment 1 \(ScriptedMultiAgentEnv\), reset.*{message}"):
        vector.reset()
    with pytest.raises(ValueError, match="reset it"):
        act(vector, "ann", "ann")


def test_what_an_environment_raised_is_the_cause() -> None:
    vector = SyncMultiAgentVectorEnv([scripted(start("ann"), KeyError("no map"))])
    vector.reset()
    with pytest.raises(EnvError) as caught:
        act(vector, "ann")
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": np.zeros(2)}, r"value: expected a mapping with the keys \['a', 'b'\], got one with .*\['a'\]"),
        ({"a": np.zeros(2), "b": 3}, r"value.b: expected a tuple of 2, got int"),
        ({"a": np.zeros(2), "b": (0, 1.5)}, r"value.b\[1\]: expected int64 \[\], got float64 \[\]"),
    ],
)
def test_a_nested_observation_that_does_not_fit_is_refused_with_its_leaf(value: Any, message: str) -> None:
    pair = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": pair})
    vector = SyncMultiAgentVectorEnv([scripted(({"bob": value}, {}), space=space)])
    with pytest.raises(EnvError, match=rf"agent 'bob': observation: {message}"):
        vector.reset()


def without(attribute: str) -> Callable[[ScriptedMultiAgentEnv], None]:
    return lambda env: delattr(env, attribute)


def having(attribute: str, value: Any) -> Callable[[ScriptedMultiAgentEnv], None]:
    return lambda env: setattr(env, attribute, value)


ONE_SPACE = {"ann": spaces.Discrete(2)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("possible_agents"), "no attribute possible_agents; set it in the constructor"),
        (without("action_spaces"), "no attribute action_spaces"),
        (having("possible_agents", []), r"possible_agents: expected distinct strings.*got \[\]"),
        (having("possible_agents", "ann"), "possible_agents: .*got 'ann'"),
        (having("possible_agents", ["ann", "ann"]), r"got \['ann', 'ann'\]"),
        (having("possible_agents", ["ann", 3]), r"got \['ann', 3\]"),
        (having("possible_agents", ["ann", "__all__"]), "none of them '__all__'"),
        (having("observation_spaces", spaces.Discrete(2)), "observation_spaces: .*'cy'.*, got Discrete"),
        (having("action_spaces", ONE_SPACE), r"action_spaces: expected one for each .*got \['ann'\]"),
        (having("action_spaces", dict.fromkeys(AGENTS, spaces.Discrete(7))), "not those of environment 0"),
        (having("possible_agents", AGENTS[::-1]), "not those of environment 0"),
    ],
)
def test_copies_that_do_not_say_who_acts_or_differ_in_it_are_refused(
    spoil: Callable[[ScriptedMultiAgentEnv], None], message: str
) -> None:
    spoilt = scripted()
    spoil(spoilt)
    with pytest.raises(EnvError, match=rf"environment 1 \(ScriptedMultiAgentEnv\): .*{message}"):
        SyncMultiAgentVectorEnv([scripted(), spoilt])


def test_an_observation_space_without_arrays_of_one_shape_is_refused() -> None:
    with pytest.raises(EnvError, match=r"observation_spaces\['ann'\]: expected a Box, .*got Text"):
        SyncMultiAgentVectorEnv([scripted(space=spaces.Text(4))])


def test_something_else_in_place_of_an_environment_is_refused() -> None:
    other: Any = gym.make("CartPole-v1")
    with pytest.raises(EnvError, match=r"environment 1 .*expected a MultiAgentEnv"):
        SyncMultiAgentVectorEnv([scripted(), other])
    with pytest.raises(ValueError, match="at least one"):
        SyncMultiAgentVectorEnv([])


def test_closing_closes_every_environment_once_also_after_one_failed() -> None:
    class Stuck(ScriptedMultiAgentEnv):
        def close(self) -> None:
            super().close()
            raise OSError("busy")

    made = scripted()
    envs = [kind(made.observation_spaces, made.action_spaces, []) for kind in (type(made), Stuck) * 2]
    vector = SyncMultiAgentVectorEnv(envs)
    with pytest.raises(EnvError, match=r"environment 1 \(Stuck\): close raised OSError: busy"):
        vector.close()
    vector.close()
    assert [env.num_closed for env in envs] == [1, 1, 1, 1]
