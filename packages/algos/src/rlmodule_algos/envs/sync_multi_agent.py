"""Any MultiAgentEnv, many times: stepped in turn, and everything it says is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from rlmodule_algos.envs.agent_groups import AgentGroups, Columns
from rlmodule_algos.envs.checked_multi_agent import CheckedMultiAgentEnv
from rlmodule_algos.envs.errors import EnvError, described
from rlmodule_algos.envs.layout import Array, Cast, Layout, write_casts
from rlmodule_algos.envs.multi_agent import ALL_AGENTS, MultiAgentEnv
from rlmodule_algos.envs.multi_agent_vector import BoolArray, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_core.nest import Nest, leaves, map_nest


class SyncMultiAgentVectorEnv(MultiAgentVectorEnv):
    """Steps its environments one after the other."""

    def __init__(self, envs: Sequence[MultiAgentEnv]) -> None:
        """Raise EnvError if the environments do not say which agents there are, or differ in it."""
        if not envs:
            raise ValueError("SyncMultiAgentVectorEnv: expected at least one environment, got none")
        for index, env in enumerate(envs):
            _require_declared(env, index, like=envs[0])
        self.num_envs = len(envs)
        self.possible_agents = tuple(envs[0].possible_agents)
        self.observation_spaces = dict(envs[0].observation_spaces)
        self.action_spaces = dict(envs[0].action_spaces)
        self._layouts = {agent: _layout(envs[0], agent) for agent in self.possible_agents}
        self._copies = [
            CheckedMultiAgentEnv(env, index, frozenset(self.possible_agents))
            for index, env in enumerate(envs)
        ]
        self._number = {agent: number for number, agent in enumerate(self.possible_agents)}
        self._closed = False

    def reset(self, *, seed: int | None = None, rows: BoolArray | None = None) -> MultiAgentStep:
        """Start episodes in these rows, or in all."""
        page = _Page.blank(self._layouts, self.groups)
        with self._none_usable_after_failure():
            for row, copy in enumerate(self._copies):
                if rows is None or rows[row]:
                    copy.reset(None if seed is None else seed + row)
                    self._write(page, row, copy)
        write_casts(page.casts)
        return page.step

    def step(self, actions: Columns, acting: BoolArray) -> MultiAgentStep:
        """Step every environment with the agents that act in it."""
        page = _Page.blank(self._layouts, self.groups)
        given = self._by_row(self.groups.by_agent(actions), acting)
        with self._none_usable_after_failure():
            for row, copy in enumerate(self._copies):
                copy.step(given[row])
                self._write(page, row, copy)
        write_casts(page.casts)
        return page.step

    def close(self) -> None:
        """Close every environment, also if one fails. Raises EnvError for the first that did."""
        if self._closed:
            return
        self._closed = True
        failures = []
        for copy in self._copies:
            try:
                copy.env.close()
            except Exception as error:
                failures.append((EnvError(f"{copy.name}: close raised {described(error)}"), error))
        if failures:
            raise failures[0][0] from failures[0][1]

    @contextmanager
    def _none_usable_after_failure(self) -> Iterator[None]:
        """Some environments went on and some did not: demand a reset of all."""
        try:
            yield
        except BaseException:
            for copy in self._copies:
                copy.over = True
            raise

    def _by_row(self, actions: Mapping[str, Nest], acting: BoolArray) -> list[dict[str, Nest]]:
        """Turn agent -> `[n, ...]` into one dict of the agents that act, for each environment.

        Raises ValueError before anything is stepped, if a row is over or others would have to act.
        """
        given: list[dict[str, Nest]] = [{} for _ in self._copies]
        for agent, rows in zip(self.possible_agents, acting, strict=True):
            for row in np.flatnonzero(rows).tolist():
                given[row][agent] = map_nest(lambda leaf, row=row: leaf[row], actions[agent])
        for copy, of_row in zip(self._copies, given, strict=True):
            if copy.over:
                raise ValueError(f"{copy.name}: its episode is over; reset it before the next step")
            if of_row.keys() != copy.due:
                raise ValueError(
                    f"{copy.name}: the agents that have an observation, {sorted(copy.due)}, must act, "
                    f"got actions of {sorted(of_row)}"
                )
        return given

    def _write(self, page: _Page, row: int, copy: CheckedMultiAgentEnv) -> None:
        step, outcome, number = page.step, copy.outcome, self._number
        for agent, value in outcome.obs.items():
            try:
                self._layouts[agent].write(page.columns[agent], row, value, page.casts)
            except ValueError as error:
                raise EnvError(f"{copy.place(agent)}: observation: {error}") from None
            step.has_obs[number[agent], row] = True
        for agent, reward in outcome.rewards.items():
            step.rewards[number[agent], row] = reward
        for agent in outcome.terminated:
            step.terminated[number[agent], row] = True
        for agent in outcome.truncated:
            step.truncated[number[agent], row] = True
        step.over[row] = copy.over


class _Page(NamedTuple):
    """The result under construction, in memory that nobody else has."""

    step: MultiAgentStep
    columns: dict[str, list[Array]]  # the leaves of `step.obs` by agent
    casts: list[Cast]  # what is still to be written into them

    @classmethod
    def blank(cls, layouts: Mapping[str, Layout], groups: AgentGroups) -> _Page:
        rows = groups.num_envs
        obs = [layouts[members[0]].allocate(len(members) * rows) for members in groups.members]
        by_agent = groups.by_agent(obs)
        has_obs, terminated, truncated = np.zeros((3, len(layouts), rows), np.bool_)
        step = MultiAgentStep(
            obs=obs,
            has_obs=has_obs,
            rewards=np.zeros((len(layouts), rows), np.float32),
            terminated=terminated,
            truncated=truncated,
            over=np.zeros(rows, np.bool_),
        )
        return cls(step, {agent: leaves(nest) for agent, nest in by_agent.items()}, [])


def _require_declared(env: MultiAgentEnv, index: int, *, like: MultiAgentEnv) -> None:
    """Raise EnvError unless an environment tells its agents and their spaces, the same as the first."""
    name = f"environment {index} ({type(env).__name__})"
    if not isinstance(env, MultiAgentEnv):
        raise EnvError(f"{name}: expected a MultiAgentEnv, got {type(env).__name__}")
    for attribute in ("possible_agents", "observation_spaces", "action_spaces"):
        if not hasattr(env, attribute):
            raise EnvError(f"{name}: it has no attribute {attribute}; set it in the constructor")
    agents = env.possible_agents
    if not _are_agent_ids(agents):
        raise EnvError(
            f"{name}: possible_agents: expected distinct strings, at least one, none of them "
            f"{ALL_AGENTS!r}, got {agents!r}"
        )
    for attribute in ("observation_spaces", "action_spaces"):
        given = getattr(env, attribute)
        if not isinstance(given, Mapping) or set(given) != set(agents):
            found = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
            raise EnvError(f"{name}: {attribute}: expected one for each of {sorted(agents)}, got {found}")
        if dict(given) != dict(getattr(like, attribute)) or list(agents) != list(like.possible_agents):
            raise EnvError(
                f"{name}: its agents or {attribute} are not those of environment 0; "
                "all copies must have the same"
            )


def _are_agent_ids(agents: object) -> bool:
    if not isinstance(agents, (list, tuple)) or not agents:
        return False
    strings = all(isinstance(agent, str) and agent != ALL_AGENTS for agent in agents)
    return strings and len(set(agents)) == len(agents)


def _layout(env: MultiAgentEnv, agent: str) -> Layout:
    try:
        return Layout(env.observation_spaces[agent])
    except ValueError as error:
        raise EnvError(f"{type(env).__name__}: observation_spaces[{agent!r}]: {error}") from None
