"""Many agents in many environments, acting: who is there, which module acts for whom, in which state.

A pair is one agent in one environment; pair `a * n + e` is agent `a` in environment `e` of `n`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import Columns, MultiAgentVectorEnv
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor, Draw
from rlmodule_algos.sampling.pair_columns import PairColumns
from rlmodule_algos.sampling.recurrent_state import CarriedState
from rlmodule_algos.sampling.step_log import Left, Stepped
from rlmodule_algos.settings import ConfigError
from rlmodule_core import RLModule
from rlmodule_core.nest import Nest

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
PolicyMapping: TypeAlias = Callable[[str], str]
"""agent id -> module id; asked once for each agent in each episode."""

NOBODY = -1


class Acted(NamedTuple):
    """What one module did in one step."""

    pairs: IntArray  # [N]
    obs: Nest  # [N, ...]
    draw: Draw
    state: Nest = None  # [N, ...] before the step, of a stateful module
    fresh: BoolArray | None = None  # [N] whose episode begins with it, of a stateful module


class Agents:
    """Acts for all agents that have an observation."""

    def __init__(
        self,
        env: MultiAgentVectorEnv,
        modules: Mapping[str, RLModule],
        mapping: PolicyMapping,
        bridge: Bridge,
        rng: np.random.Generator,
    ) -> None:
        self.env = env
        self.num_pairs = len(env.possible_agents) * env.num_envs
        self._modules = modules
        self._mapping = mapping
        self._bridge = bridge
        self._rng = rng
        self._member: dict[str, str] = {}  # module id -> an agent that it acts for, whose spaces it has
        self.module_ids: list[str] = []  # that acted so far, by number
        self._numbers: dict[str, int] = {}
        self._pairs = PairColumns(env)

    def reset(self, seed: int | None) -> None:
        """Begin an episode in every environment."""
        step = self.env.reset(seed=seed)
        self._obs = step.obs
        self.acting: BoolArray = step.has_obs.ravel()  # [P] has an observation, and no action yet
        self._module_of = np.full(self.num_pairs, NOBODY)
        self._states: dict[str, CarriedState] = {}

    def actors(self) -> dict[str, Actor]:
        """Return what acts with the modules as their weights are now."""
        return {key: Actor(module, self._bridge, self._rng) for key, module in self._modules.items()}

    def act(self, actors: Mapping[str, Actor], *, explore: bool) -> tuple[Columns, dict[str, Acted]]:
        """Return the actions for the environments, and what each module did."""
        done: dict[str, Acted] = {}
        for code, pairs in self._by_module():
            module_id = self.module_ids[code]
            obs, actor = self._pairs.gather(self._obs, pairs), actors[module_id]
            if actor.is_stateful:
                carried = self._state_of(module_id)
                state, fresh = carried.rows(pairs), carried.fresh[pairs]
                draw = actor.act(obs, state, explore=explore)
                carried.write(pairs, draw.state)
                done[module_id] = Acted(pairs, obs, draw, state, fresh)
            else:
                done[module_id] = Acted(pairs, obs, actor.act(obs, explore=explore))
        return self._pairs.actions([(acted.pairs, acted.draw.actions) for acted in done.values()]), done

    def _by_module(self) -> list[tuple[int, IntArray]]:
        """Return which pairs act now, for each module that acts for some."""
        pairs = np.flatnonzero(self.acting)
        codes = self._module_of[pairs]
        if codes.min(initial=0) == NOBODY:
            self._map(pairs[codes == NOBODY])
            codes = self._module_of[pairs]
        if len(self.module_ids) == 1:
            return [(0, pairs)] if len(pairs) else []
        return [(code, pairs[codes == code]) for code in np.flatnonzero(np.bincount(codes)).tolist()]

    def step(self, actions: Columns) -> Stepped:
        """Step the environments, and reset those whose episode is over: `obs` is what is acted on next."""
        acting, module_of = self.acting, self._module_of
        step = self.env.step(actions, acting.reshape(-1, self.env.num_envs))
        terminated, truncated = step.terminated.ravel(), step.truncated.ravel()
        has_obs, ended = step.has_obs.ravel(), terminated | truncated
        rewards = step.rewards.ravel()
        self._obs = step.obs
        self.acting = has_obs & ~ended
        leaving = np.flatnonzero(ended)
        left: list[Left] = []
        if len(leaving):
            left = self._pairs.split(self._obs, leaving)
            for carried in self._states.values():
                carried.restart(leaving)
        if step.over.any():
            self._begin(step.over)
        return Stepped(acting, rewards, has_obs, terminated, truncated, ended, module_of, step.over, left)

    def forget(self, module_id: str) -> None:
        """Ask the mapping again for everyone that a module acts for."""
        if module_id in self._numbers:
            mine = self._module_of == self._numbers[module_id]
            self._module_of = np.where(mine, NOBODY, self._module_of)
        self._states.pop(module_id, None)
        self._member.pop(module_id, None)

    def _begin(self, rows: BoolArray) -> None:
        """Reset some environments; their agents are mapped anew."""
        fresh = self.env.reset(rows=rows)
        agents, envs = len(self.env.possible_agents), np.flatnonzero(rows)
        self.acting.reshape(agents, -1)[:, envs] = fresh.has_obs[:, envs]  # no one else has this array
        self._module_of = self._module_of.copy()
        self._module_of.reshape(agents, -1)[:, envs] = NOBODY
        beginning = np.flatnonzero(fresh.has_obs)
        self._obs = self._pairs.replaced(self._obs, fresh.obs, beginning)

    def _state_of(self, module_id: str) -> CarriedState:
        if module_id not in self._states:
            self._states[module_id] = CarriedState(self._modules[module_id], self.num_pairs)
        return self._states[module_id]

    def _map(self, pairs: IntArray) -> None:
        """Ask the mapping who acts for these; what a step told stays as it is."""
        self._module_of = self._module_of.copy()
        for pair in pairs.tolist():
            module_id = self._mapped(self.env.possible_agents[pair // self.env.num_envs])
            if module_id not in self._numbers:
                self._numbers[module_id] = len(self.module_ids)
                self.module_ids.append(module_id)
            self._module_of[pair] = self._numbers[module_id]

    def _mapped(self, agent: str) -> str:
        """Ask the mapping. ConfigError for an unknown module, or one that acts for agents of other spaces."""
        module_id = self._mapping(agent)
        if module_id not in self._modules:
            raise ConfigError(f"{_answer(agent, module_id)}; the modules are {sorted(self._modules)}")
        member = self._member.setdefault(module_id, agent)
        groups = self.env.groups.of_agent
        if groups[agent] != groups[member]:
            raise ConfigError(
                f"{_answer(agent, module_id)}, which acts for {member!r} already, but their spaces are "
                "different; map them to modules of their own"
            )
        return module_id

    def observations(self, pairs: IntArray) -> Nest:
        """Return what pairs of one module act on next, `[N, ...]`."""
        return self._pairs.gather(self._obs, pairs)

    def group_of(self, pairs: IntArray) -> int:
        """Return the number of the group of agents of equal spaces that pairs of one module are in."""
        return self.env.groups.of(pairs)

    def name_of(self, pair: int) -> str:
        """Return a pair in words."""
        agent, row = divmod(pair, self.env.num_envs)
        return f"environment {row}, agent {self.env.possible_agents[agent]!r}"


def _answer(agent: str, module_id: str) -> str:
    return f"multi_agent: policy_mapping_fn({agent!r}) returned {module_id!r}"
