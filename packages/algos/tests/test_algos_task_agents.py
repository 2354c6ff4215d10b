"""CrossedAgents and MultiAgentCartPole: their baselines, and arrays that equal the plain form."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rlmodule_algos import EnvError, MultiAgentCartPole
from rlmodule_algos.envs import ManualCartPoles, MultiAgentStep, MultiAgentVectorEnv, SyncMultiAgentVectorEnv
from rlmodule_algos.testing import CrossedAgents, multi_agent_episodes

KINDS: list[Any] = [CrossedAgents, MultiAgentCartPole]
RNG = np.random.default_rng(0)


def vector(kind: Any, num_envs: int, env_config: Mapping[str, Any] | None = None) -> MultiAgentVectorEnv:
    made: MultiAgentVectorEnv = kind.make_vector(env_config or {}, num_envs)
    return made


def due(step: MultiAgentStep) -> Any:
    return step.has_obs & ~step.terminated & ~step.truncated


def random_actions(env: MultiAgentVectorEnv, rng: np.random.Generator) -> list[Any]:
    sizes: dict[str, Any] = dict(env.action_spaces)
    drawn = {agent: rng.integers(space.n, size=env.num_envs) for agent, space in sizes.items()}
    return env.groups.columns(drawn)


@pytest.mark.parametrize("num_envs", [5, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_the_vectorised_form_tells_what_copies_stepped_in_turn_tell(kind: Any, num_envs: int) -> None:
    """Also through resets of some rows, and where agents left and the others go on."""
    fast, slow = vector(kind, num_envs), SyncMultiAgentVectorEnv([kind({}) for _ in range(num_envs)])
    assert fast.possible_agents == slow.possible_agents
    assert (fast.observation_spaces, fast.action_spaces) == (slow.observation_spaces, slow.action_spaces)
    one, other, rng = fast.reset(seed=3), slow.reset(seed=3), np.random.default_rng(1)
    assert_same(fast, one, other)
    overs, alone = 0, 0
    for _ in range(400):
        acting, actions = due(one), random_actions(fast, rng)
        for group, members in enumerate(fast.groups.members):  # what stands where nobody acts is ignored
            real = np.concatenate([acting[fast.possible_agents.index(agent)] for agent in members])
            actions[group] = np.where(real, actions[group], 77) if real.any() else None
        one, other = fast.step(actions, acting), slow.step(actions, acting)
        assert_same(fast, one, other)
        alone += int((due(one).sum(axis=0) == 1).sum())
        overs += int(one.over.sum())
        rows = one.over | (rng.random(num_envs) < 0.05)  # also in the middle of an episode
        again, also = fast.reset(rows=rows), slow.reset(rows=rows)
        assert_same(fast, again, also)
        one = merged(one, again, rows)
    assert overs > 5
    assert alone > 10  # rows in which one agent was left, or had its turn


def assert_same(env: MultiAgentVectorEnv, one: MultiAgentStep, other: MultiAgentStep) -> None:
    for name in ("has_obs", "rewards", "terminated", "truncated", "over"):
        left, right = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(left, right, name)
        assert left.dtype == right.dtype
    mine, theirs = env.groups.by_agent(one.obs), env.groups.by_agent(other.obs)
    for agent, rows in zip(env.possible_agents, one.has_obs, strict=True):
        np.testing.assert_allclose(mine[agent][rows], theirs[agent][rows], rtol=1e-6, atol=1e-7)
        assert mine[agent].dtype == theirs[agent].dtype
        assert mine[agent].shape == theirs[agent].shape


def merged(step: MultiAgentStep, begun: MultiAgentStep, rows: Any) -> MultiAgentStep:
    has_obs = np.where(rows, begun.has_obs, step.has_obs)
    ended = ~rows & (step.terminated | step.truncated)
    return step._replace(has_obs=has_obs, terminated=ended, truncated=ended)


@pytest.mark.parametrize("kind", KINDS)
def test_a_subclass_is_stepped_in_turn_as_it_may_step_otherwise(kind: Any) -> None:
    class Mine(kind):  # type: ignore[misc]
        pass

    assert Mine.make_vector({}, 2) is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectorised_form_demands_what_the_plain_one_demands(kind: Any) -> None:
    env = vector(kind, 2)
    with pytest.raises(ValueError, match=r"rows \[0, 1\] are over; reset them first"):
        env.step(random_actions(env, RNG), np.ones((len(env.possible_agents), 2), np.bool_))
    acting = due(env.reset(seed=0))
    acting[1] = [True, False]
    with pytest.raises(ValueError, match=r"must act in the rows \[0, 1\].*got \[0\]"):
        env.step(random_actions(env, RNG), acting)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vectorised_form_never_changes_what_it_handed_out(kind: Any) -> None:
    env = vector(kind, 3)
    step = env.reset(seed=0)
    kept = [step]
    for _ in range(7):
        step = env.step(random_actions(env, RNG), due(step))
        kept.append(step)
    arrays = [array for one in kept for array in (*one.obs, *one[1:])]
    copies = [array.copy() for array in arrays]
    env.reset(seed=9)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# --- CartPole ---------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [2, -1])
def test_a_push_that_is_neither_left_nor_right_is_refused_and_moves_nothing(action: int) -> None:
    env = ManualCartPoles(2)
    before, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"expected the actions 0 and 1, got \[.*{action}"):
        env.step(np.array([1, action]))
    np.testing.assert_array_equal(env.observe(), before)


def balance(obs: Any, starts: Any) -> Any:
    return (obs @ np.array([0.02, 0.06, 1.0, 0.35]) > 0).astype(np.int64)


def test_each_agent_has_a_cart_as_gymnasium_moves_it() -> None:
    """Put gymnasium's own environment where each cart stands, and push both alike."""
    env = MultiAgentCartPole({"num_agents": 3})
    obs: Mapping[str, Any] = env.reset(seed=4)[0]
    assert list(obs) == ["agent_0", "agent_1", "agent_2"]
    assert len({float(one[0]) for one in obs.values()}) == 3
    alone = {}
    for agent, cart in env._carts.items():
        alone[agent] = gym.make("CartPole-v1")
        alone[agent].reset()
        alone[agent].unwrapped.state = np.array(cart.unwrapped.state)  # type: ignore[attr-defined]
    lived = dict.fromkeys(obs, 0)
    while obs:
        actions = {agent: int(RNG.integers(2)) for agent in obs}
        obs, rewards, terminateds, truncateds, _ = env.step(actions)
        for agent, action in actions.items():
            expected, reward, terminated, truncated, _ = alone[agent].step(action)
            np.testing.assert_array_equal(obs[agent], expected)
            assert rewards[agent] == reward
            assert (terminateds[agent], truncateds[agent]) == (terminated, truncated)
            lived[agent] += 1
        assert not any(truncateds.values())
        obs = {agent: one for agent, one in obs.items() if not terminateds[agent]}
        assert terminateds["__all__"] == (not obs)
    assert len(set(lived.values())) > 1  # some went on when another had left


def test_who_stands_after_500_steps_is_truncated_with_all() -> None:
    env = MultiAgentCartPole({})
    obs: Mapping[str, Any] = env.reset(seed=0)[0]
    for t in range(500):
        actions = {agent: int(balance(one, None)) for agent, one in obs.items()}
        obs, _rewards, terminateds, truncateds, _ = env.step(actions)
        assert truncateds["__all__"] == truncateds["agent_0"] == truncateds["agent_1"] == (t == 499)
    assert not any(terminateds.values())
    assert set(obs) == {"agent_0", "agent_1"}


def test_whole_episodes_of_balanced_poles_are_500_long_for_every_agent() -> None:
    env = vector(MultiAgentCartPole, 4, {"num_agents": 3})
    for episode in multi_agent_episodes(env, dict.fromkeys(env.possible_agents, balance), 6, seed=0):
        assert {len(one["rewards"]) for one in episode.values()} == {500}
        assert all(one["truncated"].tolist() == [False] * 499 + [True] for one in episode.values())
        assert all(one["obs"].shape == (501, 4) for one in episode.values())


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"agents": 2}, "unknown option 'agents' in env_config; it has 'num_agents'"),
        ({"num_agents": 0}, "num_agents: expected a positive int, got 0"),
        ({"num_agents": "2"}, "num_agents: expected a positive int, got '2'"),
    ],
)
def test_options_that_the_cartpoles_do_not_know_are_refused(env_config: dict[str, Any], message: str) -> None:
    for make in (MultiAgentCartPole, lambda config: vector(MultiAgentCartPole, 2, config)):
        with pytest.raises(EnvError, match=f"MultiAgentCartPole: {message}"):
            make(env_config)


def test_cartpoles_that_the_caller_resets_move_as_those_that_restart_themselves() -> None:
    ours, theirs = ManualCartPoles(8), gym.make_vec("CartPole-v1", 8)
    np.testing.assert_array_equal(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    ended = np.zeros(8, np.bool_)
    for _ in range(12):
        actions = np.ones(8, np.int64)
        for mine, other in zip(ours.step(actions)[:4], theirs.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(mine[~ended], other[~ended])
        ended |= theirs.unwrapped.prev_done  # type: ignore[attr-defined]
    assert ended.all()


def test_cartpoles_may_be_seeded_with_a_mask_and_before_any_other_reset() -> None:
    mask = np.array([True, False])
    env = ManualCartPoles(2)
    first = env.reset(seed=1, options={"reset_mask": mask})[0]
    second = env.reset(seed=8, options={"reset_mask": mask})[0]
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(env.reset(seed=8, options={"reset_mask": mask})[0], second)


# --- Crossed agents ---------------------------------------------------------------------------


def scores(policies: Mapping[str, Any], num_episodes: int = 64) -> list[float]:
    env = vector(CrossedAgents, 64)
    played = multi_agent_episodes(env, policies, num_episodes, seed=0)
    returns = [[episode[agent]["rewards"].sum() for agent in env.possible_agents] for episode in played]
    means = np.mean(returns, axis=0) / list(CrossedAgents.scored_steps.values())
    return [float(mean) for mean in means]


def test_the_experts_of_crossed_agents_are_always_right() -> None:
    assert CrossedAgents.scored_steps == {"a0": 8, "a1": 5, "a2": 4}
    assert scores(CrossedAgents.experts()) == [1.0, 1.0, 1.0]


def test_a_swapped_mapping_gives_the_two_nothing() -> None:
    experts = CrossedAgents.experts()
    assert scores({**experts, "a0": experts["a1"], "a1": experts["a0"]}) == [0.0, 0.0, 1.0]


def test_guessing_gives_crossed_agents_a_quarter_and_a_third() -> None:
    guess = {
        agent: lambda obs, starts: RNG.integers(obs.shape[1], size=len(obs)) for agent in ("a0", "a1", "a2")
    }
    np.testing.assert_allclose(scores(guess, 4096), [1 / 4, 1 / 4, 1 / 3], atol=0.015)


def test_no_policy_for_both_that_knows_no_agent_id_is_better_than_a_half() -> None:
    """Of all 4^4 tables; what one agent is paid for, the other never is."""
    tables = itertools.product(range(4), repeat=4)
    both = [
        sum((action == token) + (action == (token + 1) % 4) for token, action in enumerate(table)) / 8
        for table in tables
    ]
    assert max(both) == 0.5


def test_crossed_agents_take_turns_and_leave_as_they_should() -> None:
    env = CrossedAgents({})
    obs, _ = env.reset(seed=0)
    present = [sorted(obs)]
    flags = []
    for _ in range(8):
        actions = dict.fromkeys(obs, 0)
        obs, rewards, terminateds, truncateds, _ = env.step(actions)
        assert rewards.keys() == actions.keys()
        present.append(sorted(obs))
        flags.append((terminateds["a1"], terminateds["__all__"], truncateds["__all__"]))
        if terminateds["a1"]:
            obs = {agent: one for agent, one in obs.items() if agent != "a1"}
    everyone, two = ["a0", "a1", "a2"], ["a0", "a1"]
    assert present == [everyone, two, everyone, two, everyone, two, ["a0", "a2"], ["a0"], ["a0", "a2"]]
    assert [flag[0] for flag in flags].index(True) == 4
    assert [flag[1] for flag in flags] == [False] * 7 + [True]


def test_episodes_of_agents_hold_their_own_steps_alone() -> None:
    experts = CrossedAgents.experts()
    for episode in multi_agent_episodes(vector(CrossedAgents, 3), experts, 7, seed=0):
        assert {agent: len(one["actions"]) for agent, one in episode.items()} == {"a0": 8, "a1": 5, "a2": 4}
        for agent, one in episode.items():
            assert len(one["obs"]) == len(one["actions"]) + 1
            expected = (one["obs"][:-1].argmax(axis=1) + (agent == "a1")) % one["obs"].shape[1]
            assert one["actions"].tolist() == expected.tolist()
            assert one["terminated"].tolist() == [False] * (len(one["actions"]) - 1) + [True]
            assert not one["truncated"].any()


def test_episodes_tell_every_agents_policy_where_its_own_begin() -> None:
    seen: list[list[bool]] = []

    def note(obs: Any, starts: Any) -> Any:
        seen.append(starts.tolist())
        return np.zeros(len(obs), np.int64)

    multi_agent_episodes(vector(CrossedAgents, 2), {**CrossedAgents.experts(), "a2": note}, 4, seed=0)
    assert seen == ([[True] * 2] + [[False] * 2] * 7) * 2


def test_crossed_agents_have_no_options() -> None:
    for make in (CrossedAgents, lambda config: CrossedAgents.make_vector(config, 2)):
        with pytest.raises(EnvError, match=r"CrossedAgents: it has no options, got \['num_envs'\]"):
            make({"num_envs": 2})
