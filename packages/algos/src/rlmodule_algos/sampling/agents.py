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
from rlmodule_algos.sampling.action_filter import action_filter
from rlmodule_algos.sampling.recurrent_state import CarriedState
from rlmodule_algos.settings import ConfigError
from rlmodule_core import RLModule
from rlmodule_core.nest import Nest, leaves, map_nest, unflatten

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
    module_of: npt.NDArray[np.object_]  # the id of the module that acts for it; None: it never acted
    obs: Mapping[str, Nest]  # agent -> [n, ...]
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
        self._filters = {agent: action_filter(env.action_spaces[agent]) for agent in env.possible_agents}

    def reset(self, seed: int | None) -> None:
        """Begin an episode in every environment."""
        step = self.env.reset(seed=seed)
        self.obs: dict[str, Nest] = dict(step.obs)
        self.acting = self._flat(step.has_obs)  # [pairs] has an observation, and no action yet
        self.module_of: npt.NDArray[np.object_] = np.full(self.num_pairs, None, object)
        self._states: dict[str, CarriedState] = {}

    def actors(self) -> dict[str, Actor]:
        """Return what acts with the modules as their weights are now."""
        return {key: Actor(module, self._bridge, self._rng) for key, module in self._modules.items()}

    def act(self, actors: Mapping[str, Actor], *, explore: bool) -> tuple[dict[str, Nest], dict[str, Acted]]:
        """Return the actions for the environments, by agent, and what each module did."""
        self._map_new_pairs()
        done: dict[str, Acted] = {}
        pairs = np.flatnonzero(self.acting)
        for module_id in dict.fromkeys(self.module_of[pairs].tolist()):
            mine = pairs[self.module_of[pairs] == module_id]
            obs, actor = self.gather(self.obs, mine), actors[module_id]
            state = None
            if actor.is_stateful:
                state = self._state_of(module_id).rows(mine)
            draw = actor.act(obs, state, explore=explore)
            if actor.is_stateful:
                self._state_of(module_id).write(mine, draw.state)
            done[module_id] = Acted(mine, obs, draw, state)
        return self._actions(done), done

    def step(self, actions: Mapping[str, Nest]) -> Stepped:
        """Step the environments, and reset those whose episode is over: `obs` is what is acted on next."""
        step = self.env.step(actions, self._by_agent(self.acting))
        terminated, truncated = self._flat(step.terminated), self._flat(step.truncated)
        has_obs, ended = self._flat(step.has_obs), terminated | truncated
        module_of = self.module_of.copy()
        self.acting = has_obs & ~ended
        self.obs = dict(step.obs)
        if step.over.any():
            self._begin(step.over)
        for carried in self._states.values():
            carried.restart(ended)
        rewards = self._flat(step.rewards)
        return Stepped(rewards, has_obs, terminated, truncated, ended, module_of, step.obs, step.over)

    def forget(self, module_id: str) -> None:
        """Ask the mapping again for everyone that a module acts for."""
        self.module_of[self.module_of == module_id] = None
        self._states.pop(module_id, None)
        self._member.pop(module_id, None)

    def _begin(self, rows: BoolArray) -> None:
        """Reset some environments; their agents are mapped anew."""
        fresh = self.env.reset(rows=rows)
        has_obs = self._flat(fresh.has_obs)
        everywhere = np.tile(rows, len(self.env.possible_agents))
        self.acting = np.where(everywhere, has_obs, self.acting)
        self.module_of[everywhere] = None
        for agent, column in fresh.obs.items():
            if fresh.has_obs[agent].any():
                self.obs[agent] = _merged(self.obs[agent], column, fresh.has_obs[agent])

    def _state_of(self, module_id: str) -> CarriedState:
        if module_id not in self._states:
            self._states[module_id] = CarriedState(self._modules[module_id], self.num_pairs)
        return self._states[module_id]

    def _map_new_pairs(self) -> None:
        for pair in np.flatnonzero(self.acting):
            if self.module_of[pair] is None:
                agent = self.env.possible_agents[pair // self.env.num_envs]
                self.module_of[pair] = self._mapped(agent)

    def _mapped(self, agent: str) -> str:
        """Ask the mapping. ConfigError for an unknown module, or one that acts for agents of other spaces."""
        module_id, env = self._mapping(agent), self.env
        answer = f"multi_agent: policy_mapping_fn({agent!r}) returned {module_id!r}"
        if module_id not in self._modules:
            raise ConfigError(f"{answer}; the modules are {sorted(self._modules)}")
        member = self._member.setdefault(module_id, agent)
        if member != agent and any(
            spaces[agent] != spaces[member] for spaces in (env.observation_spaces, env.action_spaces)
        ):
            raise ConfigError(
                f"{answer}, which acts for {member!r} already, but their spaces are different; "
                "map them to modules of their own"
            )
        return module_id

    def _actions(self, done: Mapping[str, Acted]) -> dict[str, Nest]:
        """Spread the modules' actions over the agents, `[n, ...]` each, fit for the environments."""
        actions: dict[str, Nest] = {}
        for acted in done.values():
            for agent, env_rows, part in self._split(acted.pairs):
                drawn = map_nest(lambda leaf: leaf[part], acted.draw.actions)  # noqa: B023  # used at once
                if agent not in actions:
                    actions[agent] = map_nest(self._empty, drawn)
                for column, leaf in zip(leaves(actions[agent]), leaves(drawn), strict=True):
                    column[env_rows] = leaf
        return {agent: self._filters[agent](drawn) for agent, drawn in actions.items()}

    def _empty(self, leaf: Array) -> Array:
        return np.zeros((self.env.num_envs, *leaf.shape[1:]), leaf.dtype)

    def gather(self, by_agent: Mapping[str, Nest], pairs: IntArray) -> Nest:
        """Return the rows `[N, ...]` of some pairs from columns by agent, `[n, ...]` each."""
        parts = [
            map_nest(lambda column: column[env_rows], by_agent[agent])  # noqa: B023  # used at once
            for agent, env_rows, _ in self._split(pairs)
        ]
        return parts[0] if len(parts) == 1 else map_nest(lambda *leaf: np.concatenate(leaf), *parts)

    def _split(self, pairs: IntArray) -> list[tuple[str, IntArray, slice]]:
        """Return (agent, its environments, their place in `pairs`); `pairs` is sorted."""
        owner, env_rows = np.divmod(pairs, self.env.num_envs)
        edges = np.flatnonzero(np.diff(owner, prepend=-1, append=-1))
        return [
            (self.env.possible_agents[owner[start]], env_rows[start:stop], slice(start, stop))
            for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        ]

    def name_of(self, pair: int) -> str:
        """Return a pair in words."""
        agent, row = divmod(pair, self.env.num_envs)
        return f"environment {row}, agent {self.env.possible_agents[agent]!r}"

    def _flat(self, by_agent: Mapping[str, Array]) -> Array:
        return np.concatenate([by_agent[agent] for agent in self.env.possible_agents])

    def _by_agent(self, flat: BoolArray) -> dict[str, BoolArray]:
        rows = flat.reshape(len(self.env.possible_agents), self.env.num_envs)
        return dict(zip(self.env.possible_agents, rows, strict=True))


def _merged(old: Nest, new: Nest, rows: BoolArray) -> Nest:
    """Return `old` with the rows of `new` where `rows` is True."""

    def merged(before: Array, after: Array) -> Array:
        taken = np.array(before)
        taken[rows] = after[rows]
        return taken

    return unflatten(old, [merged(a, b) for a, b in zip(leaves(old), leaves(new), strict=True)])
