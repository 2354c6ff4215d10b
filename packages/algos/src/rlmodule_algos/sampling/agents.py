"""Many agents in many environments, acting: who is there, which module acts for whom, in which state.

A pair is one agent in one environment; pair `a * n + e` is agent `a` in environment `e` of `n`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import MultiAgentVectorEnv
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Actor, Draw
from rlmodule_algos.sampling.pair_columns import Columns, PairColumns
from rlmodule_algos.sampling.recurrent_state import CarriedState
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
    state: Nest  # [N, ...] before the step, of a stateful module


class Stepped(NamedTuple):
    """What one step of the environments brought, `[pairs]` each, before those that are over were reset."""

    rewards: Array
    has_obs: BoolArray
    terminated: BoolArray
    truncated: BoolArray
    ended: BoolArray  # terminated or truncated
    module_of: IntArray  # the place in `module_ids` of the module that acts for it; NOBODY: it never acted
    module_ids: list[str]
    obs: Columns
    over: BoolArray  # [n] environments whose episode is over


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
        self._module_ids: list[str] = []  # that acted so far
        self._pairs = PairColumns(env)

    def reset(self, seed: int | None) -> None:
        """Begin an episode in every environment."""
        step = self.env.reset(seed=seed)
        self._obs = self._pairs.columns(step.obs)
        self.acting = self._flat(step.has_obs)  # [pairs] has an observation, and no action yet
        self._module_of = np.full(self.num_pairs, NOBODY)
        self._states: dict[str, CarriedState] = {}

    def actors(self) -> dict[str, Actor]:
        """Return what acts with the modules as their weights are now."""
        return {key: Actor(module, self._bridge, self._rng) for key, module in self._modules.items()}

    def act(self, actors: Mapping[str, Actor], *, explore: bool) -> tuple[dict[str, Nest], dict[str, Acted]]:
        """Return the actions for the environments, by agent, and what each module did."""
        self._map_new_pairs()
        done: dict[str, Acted] = {}
        pairs = np.flatnonzero(self.acting)
        codes = self._module_of[pairs]
        for code in np.unique(codes):
            module_id, mine = self._module_ids[code], pairs[codes == code]
            obs, actor = self._pairs.gather(self._obs, mine), actors[module_id]
            state = None
            if actor.is_stateful:
                state = self._state_of(module_id).rows(mine)
            draw = actor.act(obs, state, explore=explore)
            if actor.is_stateful:
                self._state_of(module_id).write(mine, draw.state)
            done[module_id] = Acted(mine, obs, draw, state)
        return self._pairs.actions([(acted.pairs, acted.draw.actions) for acted in done.values()]), done

    def step(self, actions: Mapping[str, Nest]) -> Stepped:
        """Step the environments, and reset those whose episode is over: `obs` is what is acted on next."""
        step = self.env.step(actions, self._by_agent(self.acting))
        terminated, truncated = self._flat(step.terminated), self._flat(step.truncated)
        has_obs, ended = self._flat(step.has_obs), terminated | truncated
        module_of, ids = self._module_of.copy(), self._module_ids
        obs = self._obs = self._pairs.columns(step.obs)
        self.acting = has_obs & ~ended
        if step.over.any():
            self._begin(step.over)
        for carried in self._states.values():
            carried.restart(ended)
        rewards = self._flat(step.rewards)
        return Stepped(rewards, has_obs, terminated, truncated, ended, module_of, ids, obs, step.over)

    def forget(self, module_id: str) -> None:
        """Ask the mapping again for everyone that a module acts for."""
        if module_id in self._module_ids:
            self._module_of[self._module_of == self._module_ids.index(module_id)] = NOBODY
        self._states.pop(module_id, None)
        self._member.pop(module_id, None)

    def _begin(self, rows: BoolArray) -> None:
        """Reset some environments; their agents are mapped anew."""
        fresh = self.env.reset(rows=rows)
        has_obs = self._flat(fresh.has_obs)
        everywhere = np.tile(rows, len(self.env.possible_agents))
        self.acting = np.where(everywhere, has_obs, self.acting)
        self._module_of[everywhere] = NOBODY
        self._obs = self._pairs.replaced(self._obs, self._pairs.columns(fresh.obs), has_obs)

    def _state_of(self, module_id: str) -> CarriedState:
        if module_id not in self._states:
            self._states[module_id] = CarriedState(self._modules[module_id], self.num_pairs)
        return self._states[module_id]

    def _map_new_pairs(self) -> None:
        for pair in np.flatnonzero(self.acting & (self._module_of == NOBODY)):
            module_id = self._mapped(self.env.possible_agents[pair // self.env.num_envs])
            if module_id not in self._module_ids:
                self._module_ids.append(module_id)
            self._module_of[pair] = self._module_ids.index(module_id)

    def _mapped(self, agent: str) -> str:
        """Ask the mapping. ConfigError for an unknown module, or one that acts for agents of other spaces."""
        module_id = self._mapping(agent)
        answer = f"multi_agent: policy_mapping_fn({agent!r}) returned {module_id!r}"
        if module_id not in self._modules:
            raise ConfigError(f"{answer}; the modules are {sorted(self._modules)}")
        member = self._member.setdefault(module_id, agent)
        if not self._pairs.alike(agent, member):
            raise ConfigError(
                f"{answer}, which acts for {member!r} already, but their spaces are different; "
                "map them to modules of their own"
            )
        return module_id

    def observations(self, pairs: IntArray) -> Nest:
        """Return what pairs of one module act on next, `[N, ...]`."""
        return self._pairs.gather(self._obs, pairs)

    def observed(self, stepped: Stepped, pairs: IntArray) -> Nest:
        """Return what pairs of one module saw after a step, before any reset, `[N, ...]`."""
        return self._pairs.gather(stepped.obs, pairs)

    def name_of(self, pair: int) -> str:
        """Return a pair in words."""
        agent, row = divmod(pair, self.env.num_envs)
        return f"environment {row}, agent {self.env.possible_agents[agent]!r}"

    def _flat(self, by_agent: Mapping[str, Array]) -> Array:
        return np.concatenate([by_agent[agent] for agent in self.env.possible_agents])

    def _by_agent(self, flat: BoolArray) -> dict[str, BoolArray]:
        rows = flat.reshape(len(self.env.possible_agents), self.env.num_envs)
        return dict(zip(self.env.possible_agents, rows, strict=True))
