"""Every step of every agent reaches its module's fragments once, as the environment itself recorded it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import MultiAgentEnv, SyncMultiAgentVectorEnv
from rlmodule_algos.envs.multi_agent import Answer
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.sampling import Episode, MultiAgentEnvRunner
from rlmodule_core import NumpyCategorical, NumpyDiagGaussian, NumpyRLModule
from rlmodule_core.nest import leaves

BRIDGE = Framework("torch").bridge
AGENTS = ["ann", "bob", "cy", "dan"]  # dan never comes
MODULE_OF = {"ann": "shared", "bob": "shared", "cy": "own", "dan": "shared"}
SEEDS = range(12)


class Step(NamedTuple):
    """One step of one agent; observations are told by the numbers that they bear."""

    obs: float
    action: Any
    reward: float
    terminated: bool
    truncated: bool
    successor: float | None  # None: it terminated without a last observation


class Roaming(MultiAgentEnv):
    """Agents join late, leave early, come back, take turns and are paid while they wait.

    Every observation bears a number of its own, so that a record tells which one was where.
    """

    def __init__(self, agents: Sequence[str] = tuple(AGENTS)) -> None:
        self.possible_agents = list(agents)
        plain = spaces.Box(-np.inf, np.inf, (3,))
        inner = spaces.Tuple([spaces.Discrete(9, start=4), spaces.Box(-np.inf, np.inf, (3,))])
        self.observation_spaces = {a: spaces.Dict({"in": inner}) if a == "cy" else plain for a in agents}
        move = spaces.Box(-np.inf, np.inf, (2,))
        self.action_spaces = {a: move if a == "cy" else spaces.Discrete(2, start=7) for a in agents}
        self.record: dict[str, list[Step]] = defaultdict(list)
        self.open: dict[str, list[Any]] = {}  # number, action, reward so far
        self.seen: dict[str, float] = {}  # what each was shown and has not acted on
        self.paid: dict[str, float] = defaultdict(float)  # since an agent came
        self.returns: list[tuple[str, float]] = []
        self.episodes: list[Episode] = []
        self.num_steps, self.count, self.own = 0, 0, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng, self.own = np.random.default_rng(seed), seed
        self.open, self.seen, self.paid = {}, {}, defaultdict(float)
        self.total, self.length = 0.0, 0
        self.present = self.some(0.6) or ["cy"]
        return {agent: self.look(agent) for agent in self.present}, {}

    def some(self, share: float, of: Sequence[str] = ("ann", "bob", "cy")) -> list[str]:
        return [agent for agent in of if self.rng.random() < share]

    def look(self, agent: str) -> Any:
        """Show something new; it completes the step that is open."""
        self.count += 1
        if agent in self.open:
            self.complete(agent, False, False, self.count)
        self.seen[agent] = self.count
        told = np.array([self.own, AGENTS.index(agent), self.count], np.float32)
        return {"in": (4 + self.count % 9, told)} if agent == "cy" else told

    def complete(self, agent: str, terminated: bool, truncated: bool, successor: float | None) -> None:
        number, action, reward = self.open.pop(agent)
        self.record[agent].append(Step(number, action, reward, terminated, truncated, successor))

    def step(self, actions: Mapping[str, Any]) -> Answer:
        assert actions.keys() == self.seen.keys()
        self.num_steps += 1
        for agent, action in actions.items():
            self.open[agent] = [self.seen.pop(agent), np.asarray(action).tolist(), 0.0]
        self.length += 1
        rewards = {agent: float(self.rng.integers(-8, 9)) / 4 for agent in self.some(0.7, self.present)}
        for agent, reward in rewards.items():
            self.open[agent][2] += reward
            self.paid[agent] += reward
            self.total += reward
        terminated, truncated = (self.some(0.1, self.present) for _ in range(2))
        ends = [bool(self.rng.random() < 0.04) for _ in range(2)]
        absent = [agent for agent in ("ann", "bob", "cy") if agent not in self.present]
        obs = self.leave(terminated, truncated, ends)
        if not any(ends):
            obs |= {agent: self.look(agent) for agent in self.some(0.6, self.present)}
            coming = self.some(0.2, absent)
            obs |= {agent: self.look(agent) for agent in coming}
            self.present += coming
        if any(ends) or not self.present:
            self.episodes.append(Episode(self.total, self.length))
        flags = [{a: a in which for a in which} for which in (terminated, truncated)]
        return (
            obs,
            rewards,
            {**flags[0], "__all__": ends[0]},
            {**flags[1], "__all__": ends[1]},
            {},
        )

    def leave(self, terminated: list[str], truncated: list[str], ends: list[bool]) -> dict[str, Any]:
        """Let agents go, those last that `__all__` speaks for."""
        obs: dict[str, Any] = {}
        for agent in list(self.present):
            own = agent in terminated or agent in truncated
            if not own and not any(ends):
                continue
            dies = agent in terminated or (not own and ends[0])
            cut = agent in truncated or (not own and ends[1])
            number = None
            if cut or self.rng.random() < 0.5:
                self.count += 1
                number = float(self.count)
                told = np.array([self.own, AGENTS.index(agent), number], np.float32)
                obs[agent] = {"in": (4, told)} if agent == "cy" else told
            self.complete(agent, dies, cut, number)
            self.returns.append((MODULE_OF[agent], self.paid.pop(agent, 0.0)))
            self.present.remove(agent)
        return obs


class Anything(NumpyRLModule):
    """Acts at random, in the action space of its agents."""

    def __init__(self, *, moves: bool) -> None:
        super().__init__(None)
        self.moves = moves

    def _forward_exploration(self, batch: Any, **kwargs: Any) -> Any:
        zeros = np.zeros((len(leaves(batch["obs"])[0]), 4 if self.moves else 2), np.float32)
        made = NumpyDiagGaussian(zeros, event_shape=(2,)) if self.moves else NumpyCategorical(zeros, start=7)
        return {"action_dist": made}

    _forward_inference = _forward_train = _forward_exploration

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """It has no state."""


def runner_of(
    num_envs: int, seed: int, *, agents: Sequence[str] = tuple(AGENTS), learns: Sequence[str] = ()
) -> tuple[MultiAgentEnvRunner, list[Roaming]]:
    envs = [Roaming(agents) for _ in range(num_envs)]
    runner = MultiAgentEnvRunner(
        SyncMultiAgentVectorEnv(envs),
        {"shared": Anything(moves=False), "own": Anything(moves=True)},
        lambda agent: MODULE_OF[agent],
        BRIDGE,
        learns=lambda: learns or ["shared", "own"],
        seed=seed,
    )
    return runner, envs


Steps = dict[tuple[int, str], list[Step]]  # by the seed of the environment and the agent


def steps_of(fragments: Mapping[str, Fragment]) -> Steps:
    """Read every real step out of fragments; the observations say whose it is."""
    found: Steps = {}
    for module_id, fragment in fragments.items():
        obs, final_obs = leaves(fragment.obs)[-1], leaves(fragment.final_obs)[-1]
        final = {tuple(place): k for k, place in enumerate(fragment.final_index.tolist())}
        assert fragment.lengths.min() > 0
        for row, length in enumerate(fragment.lengths.tolist()):
            own, agent, _number = obs[0, row]
            assert MODULE_OF[AGENTS[int(agent)]] == module_id
            assert (own, AGENTS[int(agent)]) not in found  # one row each
            mine = found.setdefault((int(own), AGENTS[int(agent)]), [])
            for t in range(length):
                assert obs[t, row, :2].tolist() == [own, agent]
                ends, dies = final.pop((t, row), None), bool(fragment.terminated[t, row])
                assert (ends is not None) == (dies or bool(fragment.truncated[t, row]))
                after = obs[t + 1, row] if ends is None else final_obs[ends]
                absent = dies and not after.any()
                assert absent or after[:2].tolist() == [own, agent]
                action = fragment.actions[t, row].tolist()
                flags = (dies, bool(fragment.truncated[t, row]))
                reward, number = float(fragment.rewards[t, row]), float(obs[t, row, 2])
                mine.append(Step(number, action, reward, *flags, None if absent else float(after[2])))
        assert not final
    return found


def joined(parts: Sequence[Steps]) -> Steps:
    whole: Steps = defaultdict(list)
    for part in parts:
        for key, steps in part.items():
            whole[key] += steps
    return dict(whole)


def recorded(envs: Sequence[Roaming]) -> Steps:
    return {(env.own, agent): steps for env in envs for agent, steps in env.record.items() if steps}


@pytest.mark.parametrize("seed", SEEDS)
def test_fragments_hold_what_each_environment_itself_recorded_nothing_lost_or_doubled(seed: int) -> None:
    runner, envs = runner_of(3, 100 * seed)
    sizes = np.random.default_rng(seed).integers(1, 40, 6).tolist()
    actual = joined([steps_of(runner.collect(size)) for size in sizes])

    assert actual == recorded(envs)
    ends = [step for steps in actual.values() for step in steps if step.terminated or step.truncated]
    assert len({(step.terminated, step.truncated) for step in ends}) == 3
    assert any(step.successor is None for step in ends)
    assert sum(env.num_steps for env in envs) == 3 * sum(sizes)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_step_at_a_time_gives_the_same_steps_as_all_at_once(seed: int) -> None:
    (once, _), (slow, envs) = runner_of(2, seed), runner_of(2, seed)
    whole = once.collect(60)
    parts = [slow.collect(1) for _ in range(60)]

    assert joined([steps_of(part) for part in parts]) == steps_of(whole) == recorded(envs)
    assert any(len(part) < 2 for part in parts)  # who completed no step is left out
    assert once.episodes.get_state() == slow.episodes.get_state()


@pytest.mark.parametrize("seed", SEEDS)
def test_counters_and_returns_are_those_of_the_environments(seed: int) -> None:
    runner, envs = runner_of(3, seed)
    for size in (31, 1, 28):
        runner.collect(size)

    known = runner.episodes
    acted = {agent: sum(len(env.record[agent]) + (agent in env.open) for env in envs) for agent in AGENTS}
    assert known.num_steps == 3 * 60
    assert known.num_agent_steps == {"shared": acted["ann"] + acted["bob"], "own": acted["cy"]}
    assert known.num_episodes == sum(len(env.episodes) for env in envs)
    assert sorted(known.recent) == sorted(episode for env in envs for episode in env.episodes)
    for module_id in ("shared", "own"):
        paid = [value for env in envs for own, value in env.returns if own == module_id]
        assert sorted(known.module_returns[module_id]) == sorted(paid)


def test_an_agent_that_never_comes_changes_nothing_wherever_it_stands() -> None:
    without, _ = runner_of(2, 5, agents=["ann", "bob", "cy"])
    expected = steps_of(without.collect(50))
    for agents in (AGENTS, ["dan", "ann", "bob", "cy"], ["ann", "dan", "bob", "cy"]):
        runner, _ = runner_of(2, 5, agents=agents)
        assert steps_of(runner.collect(50)) == expected


def test_the_order_of_the_agents_changes_nothing_but_which_number_is_drawn_for_whom() -> None:
    def without_actions(steps: Steps) -> Steps:
        return {key: [step._replace(action=None) for step in mine] for key, mine in steps.items()}

    runners = [runner_of(2, 5, agents=agents)[0] for agents in (AGENTS, AGENTS[::-1])]
    one, other = (steps_of(runner.collect(50)) for runner in runners)
    assert without_actions(one) == without_actions(other)


def test_what_a_module_that_does_not_learn_did_is_not_recorded_and_changes_nothing_for_the_others() -> None:
    (both, _), (one, _) = runner_of(2, 5), runner_of(2, 5, learns=["own"])
    expected, actual = both.collect(50), one.collect(50)
    assert actual.keys() == {"own"}
    assert steps_of(actual) == steps_of({"own": expected["own"]})
    assert both.episodes.get_state() == one.episodes.get_state()
