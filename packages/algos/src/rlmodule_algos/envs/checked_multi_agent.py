"""One MultiAgentEnv, with who is in its episode, and everything it says checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlmodule_algos.envs.errors import EnvError, described
from rlmodule_algos.envs.multi_agent import ALL_AGENTS, MultiAgentEnv
from rlmodule_core.nest import Nest

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Outcome:
    """What one call of one environment came to, in known agents only."""

    obs: dict[str, Nest]
    rewards: dict[str, float] = field(default_factory=dict)
    terminated: frozenset[str] = frozenset()
    truncated: frozenset[str] = frozenset()


class CheckedMultiAgentEnv:
    """Raises EnvError that names environment, step and agent for whatever breaks the contract."""

    def __init__(self, env: MultiAgentEnv, index: int, agents: frozenset[str]) -> None:
        self.env = env
        self.name = f"environment {index} ({type(env).__name__})"
        self.over = True  # until it is reset
        self.due: set[str] = set()  # those that act in the next step
        self.outcome = Outcome({})
        self._agents = agents
        self._present: set[str] = set()  # came, and did not leave yet
        self._gone: set[str] = set()  # left, and did not come back
        self._step: int | None = None  # of the episode; None while resetting
        self._seed: int | None = None  # the last that it was given
        self._episode = 0  # counted from there

    def place(self, agent: str | None = None) -> str:
        """Say which environment, which step of which episode since which seed, and which agent."""
        step = "reset" if self._step is None else f"step {self._step}"
        seeded = "" if self._seed is None else f" since it was seeded with {self._seed}"
        place = f"{self.name}, {step} of episode {self._episode}{seeded}"
        return place if agent is None else f"{place}, agent {agent!r}"

    def reset(self, seed: int | None) -> None:
        """Start an episode; `outcome` holds the first observations."""
        self.over, self._step = True, None
        if seed is not None:
            self._seed, self._episode = seed, 0
        self._episode += 1
        try:
            answer = self.env.reset(seed=seed)
        except Exception as error:
            raise EnvError(f"{self.place()}: it raised {described(error)}") from error
        obs, _infos = self._parts(answer, ("observations", "infos"))
        self._require_known("observations", obs)
        if not obs:
            raise EnvError(f"{self.place()}: expected an observation for at least one agent, got none")
        self.outcome = Outcome(obs)
        self._present, self._gone = set(obs), set()
        self.due, self.over = set(obs), False

    def step(self, actions: Mapping[str, Nest]) -> None:
        """Step with the agents that are due; `outcome`, `due` and `over` tell what came of it."""
        self._step = (self._step or 0) + 1
        try:
            answer = self.env.step(dict(actions))
        except Exception as error:
            raise EnvError(f"{self.place()}: it raised {described(error)}") from error
        names = ("observations", "rewards", "terminateds", "truncateds", "infos")
        obs, rewards, terminateds, truncateds, _infos = self._parts(answer, names)
        self._require_known("observations", obs)
        rewards = self._rewards(rewards, obs)
        terminateds = self._flags("terminateds", terminateds)
        truncateds = self._flags("truncateds", truncateds)
        self._settle(obs, rewards, terminateds, truncateds)

    def _settle(
        self,
        obs: dict[str, Nest],
        rewards: dict[str, float],
        terminateds: dict[str, bool],
        truncateds: dict[str, bool],
    ) -> None:
        """Work out who left, who stays and who acts next."""
        says_terminated = {agent for agent, flag in terminateds.items() if flag}
        says_truncated = {agent for agent, flag in truncateds.items() if flag}
        silent = self._present - says_terminated - says_truncated  # "__all__" speaks for them
        terminated = self._present & says_terminated | (silent if terminateds[ALL_AGENTS] else set())
        truncated = self._present & says_truncated | (silent if truncateds[ALL_AGENTS] else set())
        for agent in sorted(truncated - terminated - obs.keys()):
            raise EnvError(
                f"{self.place(agent)}: it was truncated, but its final observation is missing; return it, "
                "as the value of what would have followed is estimated from it"
            )
        left, came = terminated | truncated, obs.keys() - self._present
        ends = terminateds[ALL_AGENTS] or truncateds[ALL_AGENTS]
        came_and_left = came if ends else came & (says_terminated | says_truncated)
        self._present = (self._present | came) - left - came_and_left
        self._gone = (self._gone | left | came_and_left) - self._present
        told = {agent: value for agent, value in obs.items() if agent not in came_and_left}
        self.outcome = Outcome(told, rewards, frozenset(terminated), frozenset(truncated))
        self.over = ends or not self._present
        self.due = self._present & told.keys()

    def _parts(self, answer: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return the dicts of an answer; numbers of them and types are checked."""
        if not isinstance(answer, tuple) or len(answer) != len(names):
            found = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
            raise EnvError(f"{self.place()}: expected the tuple ({', '.join(names)}), got {found}")
        for name, part in zip(names, answer, strict=True):
            if not isinstance(part, Mapping):
                raise EnvError(f"{self.place()}: {name}: expected a dict by agent, got {type(part).__name__}")
        return [dict(part) for part in answer]

    def _require_known(self, what: str, by_agent: Mapping[str, object]) -> None:
        for agent in by_agent:
            if agent not in self._agents:
                raise EnvError(
                    f"{self.place()}: {what}: {agent!r} is no agent; possible_agents has "
                    f"{sorted(self._agents)}"
                )

    def _rewards(self, rewards: dict[str, Any], obs: Mapping[str, Nest]) -> dict[str, float]:
        self._require_known("rewards", rewards)
        numbers = {agent: self._number(agent, reward) for agent, reward in rewards.items()}
        for agent, number in numbers.items():
            if number and agent in self._gone and agent not in obs:
                raise EnvError(
                    f"{self.place(agent)}: it left the episode before, so its reward must be 0 or absent, "
                    f"got {number}; pay an agent at the latest when it leaves"
                )
        return numbers

    def _number(self, agent: str, reward: object) -> float:
        array = np.asarray(reward)
        if array.shape or array.dtype.kind not in "fiub":
            found = f"{type(reward).__name__} {reward!r}"
            raise EnvError(f"{self.place(agent)}: reward: expected a number, got {found}")
        number = float(array)
        if not -LARGEST <= number <= LARGEST:  # NaN is not either
            raise EnvError(f"{self.place(agent)}: reward: expected a finite float32, got {number}")
        return number

    def _flags(self, what: str, flags: dict[str, Any]) -> dict[str, bool]:
        if ALL_AGENTS not in flags:
            raise EnvError(
                f"{self.place()}: {what}: the key {ALL_AGENTS!r} is missing, which says whether the episode "
                f"is over for all; it has {sorted(map(str, flags))}"
            )
        self._require_known(what, {agent: None for agent in flags if agent != ALL_AGENTS})
        for agent, flag in flags.items():
            if not isinstance(flag, (bool, np.bool_)):
                raise EnvError(
                    f"{self.place(agent)}: {what}: expected a bool, got {type(flag).__name__} {flag!r}"
                )
        return {agent: bool(flag) for agent, flag in flags.items()}
