"""Multi-agent episodes of every course, as arrays and as the environment itself tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from rlmodule_algos.envs import MultiAgentEnv, MultiAgentStep, SyncMultiAgentVectorEnv
from rlmodule_core.nest import leaves, map_nest

AGENTS = ["ann", "bob", "cy"]


def who(flags: Any, row: int = 0) -> str:
    return " ".join(agent for agent, rows in zip(AGENTS, flags, strict=True) if rows[row])


class Crowd(MultiAgentEnv):
    """Agents that come, leave, come back, take turns and are paid at random, within the contract."""

    def __init__(self) -> None:
        inner = spaces.Tuple([spaces.Discrete(9), spaces.Box(-1, 1, (2, 2), np.float64)])
        self.possible_agents = list(AGENTS)
        self.observation_spaces = {
            "ann": spaces.Box(0, 255, (3,), np.uint8),
            "bob": spaces.Dict({"z": inner, "a": spaces.MultiBinary(2)}),
            "cy": spaces.Discrete(5),
        }
        self.action_spaces = {"ann": spaces.Discrete(3), "bob": spaces.Box(-1, 1, (2,)), "cy": inner}
        for space in self.observation_spaces.values():
            space.seed(0)

    def look(self, agents: list[str]) -> dict[str, Any]:
        return {agent: self.observation_spaces[agent].sample() for agent in agents}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
            for space in self.observation_spaces.values():
                space.seed(seed)
        self.alive = self.some(AGENTS) or ["cy"]
        return self.look(self.alive), {}

    def some(self, agents: list[str]) -> list[str]:
        return [agent for agent in agents if self.rng.random() < 0.5]

    def step(self, actions: Mapping[str, Any]) -> Any:
        paid = {agent: float(self.rng.normal()) for agent in self.some(self.alive)}
        ended = bool(self.rng.random() < 0.1)
        terminated = self.some(self.some(self.alive))
        truncated = self.some(self.some(self.alive))
        staying = [agent for agent in self.alive if agent not in {*terminated, *truncated}]
        seeing = {*self.some(self.alive), *truncated, *(staying if ended else ())}
        coming = [] if ended else self.some([agent for agent in AGENTS if agent not in self.alive])
        self.alive = [agent for agent in AGENTS if agent in {*staying, *coming}]
        flags = [dict.fromkeys(agents, True) | {"__all__": False} for agents in (terminated, truncated)]
        flags[1]["__all__"] = ended
        return self.look(sorted({*seeing, *coming})), paid, *flags, {}


def test_any_course_of_an_episode_is_told_as_the_environment_itself_told_it() -> None:
    """Play the same seeds once as arrays and once by hand, one environment after the other."""
    rows, rng = 5, np.random.default_rng(3)
    env, plain = SyncMultiAgentVectorEnv([Crowd() for _ in range(rows)]), [Crowd() for _ in range(rows)]
    step = env.reset(seed=7)
    due: list[set[str]] = []
    for row, one in enumerate(plain):
        obs, _infos = one.reset(seed=7 + row)
        due.append(set(obs))
        assert_obs(env, step, row, obs)
    alive = [set(names) for names in due]
    kinds: set[str] = set()
    for _ in range(300):
        acting = np.array([[agent in names for names in due] for agent in AGENTS])
        step = env.step(env.groups.columns(some_actions(rows, rng)), acting)
        for row, one in enumerate(plain):
            obs, rewards, terminateds, truncateds, _infos = one.step({})
            for number, agent in enumerate(AGENTS):
                terminated, truncated = terminateds.get(agent, False), truncateds.get(agent, False)
                truncated |= truncateds["__all__"] and agent in alive[row] and not terminated
                assert step.rewards[number, row] == np.float32(rewards.get(agent, 0.0))
                assert (step.terminated[number, row], step.truncated[number, row]) == (terminated, truncated)
                if terminated or truncated:
                    alive[row].discard(agent)
                    kinds.add(f"{terminated} {truncated} {agent in obs}")
                elif agent in obs and agent not in alive[row]:
                    kinds.add("comes")
                    alive[row].add(agent)
            assert_obs(env, step, row, obs)
            assert step.over[row] == (truncateds["__all__"] or not alive[row])
            due[row] = alive[row] & obs.keys()
        if step.over.any():
            again = env.reset(rows=step.over)
            for row in np.flatnonzero(step.over).tolist():
                obs, _infos = plain[row].reset()
                due[row], alive[row] = set(obs), set(obs)
                assert_obs(env, again, row, obs)
            assert not again.has_obs[:, ~step.over].any()
    assert kinds == {"comes", "True False False", "True False True", "False True True", "True True True"}


def some_actions(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    numbers, reals = rng.integers(3, size=rows), rng.normal(size=(rows, 2, 2)).astype(np.float32)
    return {"ann": numbers, "bob": reals[:, 0], "cy": (numbers, reals)}


def assert_obs(env: SyncMultiAgentVectorEnv, step: MultiAgentStep, row: int, obs: Mapping[str, Any]) -> None:
    assert who(step.has_obs, row).split() == sorted(obs)
    shown = env.groups.by_agent(step.obs)
    for agent, value in obs.items():
        map_nest(
            lambda leaf, part: np.testing.assert_array_equal(leaf[row], np.asarray(part, leaf.dtype)),
            shown[agent],
            dict(value) if isinstance(value, Mapping) else value,
        )


def test_nested_actions_reach_each_environment_as_its_row() -> None:
    class Keeping(Crowd):
        given: Mapping[str, Any]

        def step(self, actions: Mapping[str, Any]) -> Any:
            self.given = actions
            return super().step(actions)

    env = [Keeping(), Keeping()]
    vector = SyncMultiAgentVectorEnv(env)
    has_obs = vector.reset(seed=1).has_obs
    actions = some_actions(2, np.random.default_rng(0))
    vector.step(vector.groups.columns(actions), has_obs)
    for row, one in enumerate(env):
        assert set(one.given) == set(who(has_obs, row).split())
        for agent, action in one.given.items():
            map_nest(
                lambda part, leaf, row=row: np.testing.assert_array_equal(part, leaf[row]),
                action,
                actions[agent],
            )


def test_arrays_that_were_handed_out_never_change() -> None:
    env = SyncMultiAgentVectorEnv([Crowd() for _ in range(3)])
    step = env.reset(seed=0)
    kept, copies = [step], [map_nest(np.copy, tuple(step))]
    for _ in range(20):
        acting = step.has_obs & ~step.terminated & ~step.truncated & ~step.over
        actions = some_actions(3, np.random.default_rng(0))
        step = env.reset() if step.over.any() else env.step(env.groups.columns(actions), acting)
        kept.append(step)
        copies.append(map_nest(np.copy, tuple(step)))
    for one, other in zip(kept, copies, strict=True):
        map_nest(np.testing.assert_array_equal, tuple(one), other)


def test_observations_of_double_precision_come_as_single() -> None:
    env = SyncMultiAgentVectorEnv([Crowd()])
    shown = env.groups.by_agent(env.reset(seed=0).obs)
    assert [leaf.dtype.name for leaf in leaves(shown["bob"])] == ["int8", "int64", "float32"]
    assert shown["ann"].dtype == np.uint8
