"""Many agents in many environments, acting: who is there, which module acts for whom, in which state.

A pair is one agent in one environment; pair `a * n + e` is agent `a` in environment `e` of `n`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from rlmodule_algos.envs import Columns, EnvError, MultiAgentStep, MultiAgentVectorEnv, env_failed
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.acting import Draw
from rlmodule_algos.sampling.crews import Crews, JointActor
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
    """What modules that act together did in one step, for agents of equal spaces."""

    pairs: IntArray  # [N]
    module_of: IntArray  # [N] the number of the module that acted
    obs: Nest  # [N, ...]
    draw: Draw
    state: Nest = None  # [N, ...] before the step, of a stateful module
    fresh: BoolArray | None = None  # [N] whose episode begins with it, of a stateful module


class CrewKey(NamedTuple):
    """Who acts in one pass: a crew, for agents of equal spaces."""

    crew: int
    group: int


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
        self.module_ids: list[str] = []  # by number, also of those that left
        self._numbers: dict[str, int] = {}
        self._pairs = PairColumns(env)
        self._seed: int | None = None  # of the last reset of all
        self._steps = 0  # begun since

    def reset(self, seed: int | None) -> None:
        """Begin an episode in every environment."""
        self._seed, self._steps = seed, 0
        step = self._reset(seed=seed)
        self._obs = step.obs
        self.acting: BoolArray = step.has_obs.ravel()  # [P] has an observation, and no action yet
        self._module_of = np.full(self.num_pairs, NOBODY)
        self._states: dict[str, CarriedState] = {}

    def crews(self) -> Crews:
        """Return what acts with the modules as their weights are now."""
        modules = {self.number_of(module_id): module for module_id, module in self._modules.items()}
        return Crews(modules, self._bridge, self._rng)

    def number_of(self, module_id: str) -> int:
        """Return the number of a module, which is its own for good."""
        if module_id not in self._numbers:
            self._numbers[module_id] = len(self.module_ids)
            self.module_ids.append(module_id)
        return self._numbers[module_id]

    def act(self, crews: Crews, *, explore: bool) -> tuple[Columns, dict[CrewKey, Acted]]:
        """Return the actions for the environments, and what each crew did."""
        done: dict[CrewKey, Acted] = {}
        for key, pairs, module_of in self._by_crew(crews):
            obs, actor = self._pairs.gather(self._obs, pairs), crews.actors[key.crew]
            if isinstance(actor, JointActor):
                draw = actor.act(obs, crews.place_of[module_of], explore=explore)
                done[key] = Acted(pairs, module_of, obs, draw)
            elif actor.is_stateful:
                carried = self._state_of(self.module_ids[module_of[0]])
                state, fresh = carried.rows(pairs), carried.fresh[pairs]
                draw = actor.act(obs, state, explore=explore)
                carried.write(pairs, draw.state)
                done[key] = Acted(pairs, module_of, obs, draw, state, fresh)
            else:
                done[key] = Acted(pairs, module_of, obs, actor.act(obs, explore=explore))
        return self._pairs.actions([(acted.pairs, acted.draw.actions) for acted in done.values()]), done

    def _by_crew(self, crews: Crews) -> list[tuple[CrewKey, IntArray, IntArray]]:
        """Return which pairs act now, and with which modules, for each crew that acts for some."""
        pairs = self.acting.nonzero()[0]
        unmapped = pairs[self._module_of[pairs] == NOBODY]
        if len(unmapped):
            self._map(unmapped)
        found: list[tuple[CrewKey, IntArray, IntArray]] = []
        for group, mine in self.env.groups.split(pairs):
            module_of = self._module_of[mine]
            crew_of = crews.crew_of[module_of]
            for crew in np.bincount(crew_of).nonzero()[0].tolist():
                here = slice(None) if len(crews.actors) == 1 else crew_of == crew
                found.append((CrewKey(crew, group), mine[here], module_of[here]))
        return found

    def step(self, actions: Columns) -> Stepped:
        """Step the environments, and reset those whose episode is over: `obs` is what is acted on next.

        Raises EnvError for whatever an environment raised; all must be reset then.
        """
        acting, module_of = self.acting, self._module_of
        self._steps += 1
        try:
            step = self.env.step(actions, acting.reshape(-1, self.env.num_envs))
        except EnvError:
            raise
        except Exception as error:
            raise env_failed(self.env, error, "step", seed=self._seed, steps=self._steps) from error
        terminated, truncated = step.terminated.ravel(), step.truncated.ravel()
        has_obs, ended = step.has_obs.ravel(), terminated | truncated
        rewards = step.rewards.ravel()
        self._obs = step.obs
        self.acting = has_obs & ~ended
        leaving = ended.nonzero()[0]
        left: list[Left] = []
        if len(leaving):
            left = self._pairs.split(self._obs, leaving)
            for carried in self._states.values():
                carried.restart(leaving)
        if np.count_nonzero(step.over):  # several times faster than any()
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
        fresh = self._reset(rows=rows)
        agents, envs = len(self.env.possible_agents), np.flatnonzero(rows)
        self.acting.reshape(agents, -1)[:, envs] = fresh.has_obs[:, envs]  # no one else has this array
        self._module_of = self._module_of.copy()
        self._module_of.reshape(agents, -1)[:, envs] = NOBODY
        beginning = np.flatnonzero(fresh.has_obs)
        self._obs = self._pairs.replaced(self._obs, fresh.obs, beginning)

    def _reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        try:
            return self.env.reset(seed=seed, rows=rows)
        except EnvError:
            raise
        except Exception as error:
            raise env_failed(self.env, error, "reset", seed=self._seed, steps=self._steps) from error

    def _state_of(self, module_id: str) -> CarriedState:
        if module_id not in self._states:
            self._states[module_id] = CarriedState(self._modules[module_id], self.num_pairs)
        return self._states[module_id]

    def _map(self, pairs: IntArray) -> None:
        """Ask the mapping who acts for these; what a step told stays as it is."""
        agents = (pairs // self.env.num_envs).tolist()
        mapped = [self.number_of(self._mapped(self.env.possible_agents[agent])) for agent in agents]
        self._module_of = self._module_of.copy()
        self._module_of[pairs] = mapped

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
        """Return what pairs of equal spaces act on next, `[N, ...]`."""
        return self._pairs.gather(self._obs, pairs)

    def group_of(self, pairs: IntArray) -> int:
        """Return the number of the group of agents of equal spaces that all these pairs are in."""
        return self.env.groups.of(pairs)

    def action_space_of(self, pairs: IntArray) -> gym.Space[Any]:
        """Return the space of the actions of pairs of equal spaces."""
        groups = self.env.groups
        return self.env.action_spaces[groups.members[groups.of(pairs)][0]]

    def name_of(self, pair: int) -> str:
        """Return a pair in words."""
        agent, row = divmod(pair, self.env.num_envs)
        return f"environment {row}, agent {self.env.possible_agents[agent]!r}"


def _answer(agent: str, module_id: str) -> str:
    return f"multi_agent: policy_mapping_fn({agent!r}) returned {module_id!r}"
