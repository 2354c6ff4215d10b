"""Crossed agents: does each agent get its own rewards, its own policy and its own turns?

Three agents see a token each, drawn anew every time, as one-hot; an episode has 8 steps.

agent  tokens, actions  is paid 1 for            acts in
a0     4                the token                all 8 steps
a1     4                the token + 1, modulo 4  the first 5, then it leaves (terminated)
a2     3                the token                every second step: 4 in all

score of an agent = return / its steps       a0     a1     a2     exactly
random                                       0.25   0.25   1/3
policies of a0 and a1 swapped                0      0             the answers are never equal
one policy for both that knows no agent id   at most 0.5 on average over the two
the best policies                            1      1      1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from rlmodule_algos.envs import Columns, EnvError, MultiAgentEnv, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.testing.task import BoolArray, TaskPolicy
from rlmodule_core.nest import Nest

AGENTS = ("a0", "a1", "a2")
NUM_TOKENS = {"a0": 4, "a1": 4, "a2": 3}
SHIFT = {"a0": 0, "a1": 1, "a2": 0}
STEPS = 8
LEAVES = {"a0": STEPS, "a1": 5, "a2": STEPS}
EVERY = {"a0": 1, "a1": 1, "a2": 2}
OBSERVATION_SPACES = {agent: spaces.Box(0.0, 1.0, (size,), np.float32) for agent, size in NUM_TOKENS.items()}
ACTION_SPACES = {agent: spaces.Discrete(size) for agent, size in NUM_TOKENS.items()}


class CrossedAgents(MultiAgentEnv):
    """See the module. It has no settings."""

    scored_steps: ClassVar[dict[str, int]] = {agent: LEAVES[agent] // EVERY[agent] for agent in AGENTS}

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        _require_no_settings(env_config)
        self.possible_agents = list(AGENTS)
        self.observation_spaces = OBSERVATION_SPACES
        self.action_spaces = ACTION_SPACES
        self._rng = np.random.default_rng()
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Nest], dict[str, Any]]:
        """Draw the tokens of a whole episode."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._t = 0
        self._tokens = dict(zip(AGENTS, _draw(self._rng), strict=True))
        return self._look(), {}

    def step(
        self, actions: Mapping[str, Nest]
    ) -> tuple[dict[str, Nest], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Pay those who acted."""
        rewards = {
            agent: float(action == (self._tokens[agent][self._t] + SHIFT[agent]) % NUM_TOKENS[agent])
            for agent, action in actions.items()
        }
        self._t += 1
        terminateds = {"a1": self._t == LEAVES["a1"], "__all__": self._t == STEPS}
        return self._look(), rewards, terminateds, {"__all__": False}, {}

    def _look(self) -> dict[str, Nest]:
        return {
            agent: np.eye(NUM_TOKENS[agent], dtype=np.float32)[self._tokens[agent][self._t]]
            for agent in AGENTS
            if self._t % EVERY[agent] == 0 and self._t <= LEAVES[agent]
        }

    @classmethod
    def make_vector(cls, env_config: Mapping[str, Any], num_envs: int) -> MultiAgentVectorEnv | None:
        """Return the form that learning tests need for speed; subclasses have none."""
        _require_no_settings(env_config)
        return _VectorCrossedAgents(num_envs) if cls is CrossedAgents else None

    @staticmethod
    def experts() -> dict[str, TaskPolicy]:
        """Return the best policy of each agent."""
        return {agent: _Shifted(SHIFT[agent]) for agent in AGENTS}


class _Shifted:
    """Says the token it sees, plus a number."""

    def __init__(self, shift: int) -> None:
        self._shift = shift

    def __call__(self, obs: Nest, starts: BoolArray) -> Nest:
        return (obs.argmax(axis=1) + self._shift) % obs.shape[1]


class _VectorCrossedAgents(MultiAgentVectorEnv):
    """Equal to copies of CrossedAgents in every number that the same seeds and actions give."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.possible_agents = AGENTS
        self.observation_spaces = OBSERVATION_SPACES
        self.action_spaces = ACTION_SPACES
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._rows = np.arange(num_envs)
        self._t = np.full(num_envs, STEPS)
        self._tokens = np.zeros((len(AGENTS), num_envs, STEPS + 1), np.int64)

    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Draw the tokens of whole episodes, each row from its own generator."""
        chosen = np.ones(self.num_envs, np.bool_) if rows is None else rows
        for row in np.flatnonzero(chosen).tolist():
            if seed is not None:
                self._rngs[row] = np.random.default_rng(seed + row)
            self._tokens[:, row] = _draw(self._rngs[row])
        self._t = np.where(chosen, 0, self._t)
        unpaid = np.zeros((len(AGENTS), self.num_envs), np.float32)
        return self._told(unpaid, chosen, steps=np.zeros_like(self._t))

    def step(self, actions: Columns, acting: BoolArray) -> MultiAgentStep:
        """Pay those who act."""
        if (self._t == STEPS).any():
            over = np.flatnonzero(self._t == STEPS).tolist()
            raise ValueError(f"CrossedAgents: the episodes in the rows {over} are over; reset them first")
        rewards, given = np.zeros((len(AGENTS), self.num_envs), np.float32), self.groups.by_agent(actions)
        for number, (agent, tokens) in enumerate(zip(AGENTS, self._tokens, strict=True)):
            due = (self._t < LEAVES[agent]) & (self._t % EVERY[agent] == 0)
            if not np.array_equal(acting[number], due):
                expected, found = (np.flatnonzero(which).tolist() for which in (due, acting[number]))
                raise ValueError(f"CrossedAgents: {agent} must act in the rows {expected}, got {found}")
            if due.any():
                asked = (tokens[self._rows, self._t] + SHIFT[agent]) % NUM_TOKENS[agent]
                rewards[number] = due & (given[agent] == asked)
        self._t = self._t + 1
        return self._told(rewards, np.ones(self.num_envs, np.bool_), steps=self._t)

    def _told(
        self,
        rewards: npt.NDArray[np.float32],
        shown: BoolArray,
        *,
        steps: npt.NDArray[np.int64],  # done, 0 where this is a reset
    ) -> MultiAgentStep:
        obs = {
            agent: np.eye(NUM_TOKENS[agent], dtype=np.float32)[tokens[self._rows, self._t]]
            for agent, tokens in zip(AGENTS, self._tokens, strict=True)
        }
        looks = [(self._t % EVERY[agent] == 0) & (self._t <= LEAVES[agent]) for agent in AGENTS]
        return MultiAgentStep(
            obs=self.groups.columns(obs),
            has_obs=shown & np.array(looks),
            rewards=rewards,
            terminated=np.array([steps == LEAVES[agent] for agent in AGENTS]),
            truncated=np.zeros((len(AGENTS), self.num_envs), np.bool_),
            over=steps == STEPS,
        )

    def close(self) -> None:
        """It holds nothing."""


def _draw(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw what every agent sees at every step of an episode, also where it does not look."""
    return rng.integers(np.array([[NUM_TOKENS[agent]] for agent in AGENTS]), size=(len(AGENTS), STEPS + 1))


def _require_no_settings(env_config: Mapping[str, Any]) -> None:
    if env_config:
        raise EnvError(f"CrossedAgents: it has no options, got {sorted(map(str, env_config))} in env_config")
