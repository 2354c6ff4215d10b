"""Returns and lengths of episodes that may span many fragments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from rlmodule_algos.batching import Fragment
from rlmodule_core import DEFAULT_MODULE_ID

if TYPE_CHECKING:
    from rlmodule_algos.sampling.agents import Acted, Stepped


class Episode(NamedTuple):
    """A finished episode."""

    episode_return: float
    length: int


class Episodes(Protocol):
    """What is known of the episodes of a run."""

    recent: deque[Episode]  # the last ones to finish
    num_episodes: int
    num_steps: int  # of environments

    @property
    def module_returns(self) -> Mapping[str, Sequence[float]]: ...  # noqa: D102  # of single agents, recent
    @property
    def num_agent_steps(self) -> Mapping[str, int]: ...  # noqa: D102  # by module


class EpisodeTracker:
    """Adds up rewards and steps of each row, once a fragment rather than once a step."""

    def __init__(self, num_rows: int, window: int = 100) -> None:
        self._returns = np.zeros(num_rows)  # of the open episode of each row
        self._lengths = np.zeros(num_rows, dtype=np.int64)
        self.recent: deque[Episode] = deque(maxlen=window)
        self.num_episodes = 0
        self.num_steps = 0

    @property
    def module_returns(self) -> Mapping[str, Sequence[float]]:
        """The recent returns, of the one module."""
        return {DEFAULT_MODULE_ID: [episode.episode_return for episode in self.recent]}

    @property
    def num_agent_steps(self) -> Mapping[str, int]:
        """The steps of the one module's agent, which are those of the environments."""
        return {DEFAULT_MODULE_ID: self.num_steps}

    def add(self, fragment: Fragment) -> None:
        """Count a fragment's steps and the episodes that ended in it."""
        rewards = np.where(fragment.mask, fragment.rewards, 0.0).cumsum(axis=0, dtype=np.float64)
        start = np.zeros(len(fragment.lengths), dtype=np.int64)  # of the open episode, in this fragment
        before = np.zeros(len(fragment.lengths))  # rewards of this fragment that came earlier
        for t, row in fragment.final_index[np.argsort(fragment.final_index[:, 0], kind="stable")]:
            episode = Episode(
                float(self._returns[row] + rewards[t, row] - before[row]),
                int(self._lengths[row] + t + 1 - start[row]),
            )
            self.recent.append(episode)
            self.num_episodes += 1
            self._returns[row], self._lengths[row] = 0.0, 0
            start[row], before[row] = t + 1, rewards[t, row]
        if len(rewards):
            self._returns += rewards[-1] - before
        self._lengths += fragment.lengths - start
        self.num_steps += fragment.num_steps

    def drop_open(self) -> None:
        """Forget the open episode of each row; the next step of a row begins another."""
        self._returns[:], self._lengths[:] = 0.0, 0

    def get_state(self) -> dict[str, Any]:
        """Return counters and the window; open episodes are not kept, as their environments are not."""
        return {
            "num_episodes": self.num_episodes,
            "num_steps": self.num_steps,
            "recent": [list(episode) for episode in self.recent],
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` returned; every row starts a new episode."""
        self.num_episodes, self.num_steps = state["num_episodes"], state["num_steps"]
        self.recent.clear()
        self.recent.extend(Episode(float(total), int(length)) for total, length in state["recent"])
        self.drop_open()


class AgentEpisodeTracker:
    """The same for environments of many agents: an episode's return is that of all its agents together.

    `module_returns` has the returns of single agents, by the module that acted for them. With `once` only
    the first episode of each environment counts.
    """

    def __init__(self, num_envs: int, num_agents: int, *, window: int = 100, once: bool = False) -> None:
        self._window = window
        self._once = once
        self.playing = np.ones(num_envs, np.bool_)  # False, with `once`, after the first episode
        self._returns = np.zeros((num_agents, num_envs))  # of the open episode of each agent
        self._totals = np.zeros(num_envs)  # of the open episode of each environment
        self._lengths = np.zeros(num_envs, np.int64)
        self.recent: deque[Episode] = deque(maxlen=window)
        self._module_returns: dict[str, deque[float]] = {}
        self._num_agent_steps: dict[str, int] = {}
        self.num_episodes = 0
        self.num_steps = 0

    @property
    def module_returns(self) -> Mapping[str, Sequence[float]]:
        """The recent returns of single agents, by the module that acted for them."""
        return self._module_returns

    @property
    def num_agent_steps(self) -> Mapping[str, int]:
        """The steps in which each module acted for an agent."""
        return self._num_agent_steps

    def step(self, stepped: Stepped, acted: Mapping[str, Acted]) -> None:
        """Count a step of every environment, in which modules did what `acted` says."""
        rewards = np.where(self.playing, stepped.rewards.reshape(self._returns.shape), 0.0)
        self._returns += rewards
        self._totals += rewards.sum(axis=0)
        self._lengths += self.playing
        self.num_steps += int(self.playing.sum())
        for module_id, step in acted.items():
            count = int(self.playing[step.pairs % len(self.playing)].sum())
            self._num_agent_steps[module_id] = self._num_agent_steps.get(module_id, 0) + count
        counted = stepped.ended.reshape(self._returns.shape) & self.playing
        for agent, env in np.argwhere(counted):
            code = stepped.module_of[agent * self._returns.shape[1] + env]
            if code >= 0:  # else it never acted
                module_id = stepped.module_ids[code]
                known = self._module_returns.setdefault(module_id, deque(maxlen=self._window))
                known.append(float(self._returns[agent, env]))
            self._returns[agent, env] = 0.0
        for env in np.flatnonzero(stepped.over & self.playing):
            self.recent.append(Episode(float(self._totals[env]), int(self._lengths[env])))
            self.num_episodes += 1
            self._totals[env], self._lengths[env], self._returns[:, env] = 0.0, 0, 0.0
        if self._once:
            self.playing &= ~stepped.over

    def drop_open(self) -> None:
        """Forget the open episodes; the next step of each environment begins another."""
        self._returns[:], self._totals[:], self._lengths[:] = 0.0, 0.0, 0

    def get_state(self) -> dict[str, Any]:
        """Return counters and windows; open episodes are not kept, as their environments are not."""
        return {
            "num_episodes": self.num_episodes,
            "num_steps": self.num_steps,
            "recent": [list(episode) for episode in self.recent],
            "module_returns": {key: list(returns) for key, returns in self._module_returns.items()},
            "num_agent_steps": dict(self._num_agent_steps),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` returned; every environment starts a new episode."""
        self.num_episodes, self.num_steps = state["num_episodes"], state["num_steps"]
        self.recent.clear()
        self.recent.extend(Episode(float(total), int(length)) for total, length in state["recent"])
        self._module_returns = {
            key: deque(map(float, returns), maxlen=self._window)
            for key, returns in state["module_returns"].items()
        }
        self._num_agent_steps = dict(state["num_agent_steps"])
        self.drop_open()
