"""Returns and lengths of episodes that may span many fragments."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rlmodule_algos.batching import Fragment
from rlmodule_algos.sampling.step_log import StepLog
from rlmodule_core import DEFAULT_MODULE_ID

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


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
    the first episode of each environment counts, and all of them are kept: of a window, the short ones
    that end first would drop out.
    """

    def __init__(self, num_envs: int, num_agents: int, *, window: int = 100, once: bool = False) -> None:
        self._window = None if once else window
        self._once = once
        self.playing = np.ones(num_envs, np.bool_)  # False, with `once`, after the first episode
        self._num_agents = num_agents
        self._returns = np.zeros(num_agents * num_envs)  # of the open episode of each agent
        self._totals = np.zeros(num_envs)  # of the open episode of each environment
        self._lengths = np.zeros(num_envs, np.int64)
        self.recent: deque[Episode] = deque(maxlen=self._window)
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

    def add(self, log: StepLog, module_ids: Sequence[str]) -> None:
        """Count some steps of every environment; `log` knows modules by their number in `module_ids`."""
        playing, rewards = np.broadcast_to(self.playing, log.over.shape), log.rewards.astype(np.float64)
        over, ended, acted = log.over, log.ended, log.acted
        if self._once:
            playing = playing & ~_earlier(log.over)
            everywhere = np.tile(playing, self._num_agents)
            rewards[~everywhere] = 0.0
            over, ended, acted = over & playing, ended & everywhere, acted & everywhere
            self.playing &= ~log.over.any(axis=0)
        self._count_steps(log.module_of[acted], module_ids)
        self._add_agents(log, rewards, ended, over, module_ids)
        by_agent = rewards.reshape(len(rewards), self._num_agents, -1)
        times, _envs, totals, self._totals = _summed(by_agent.sum(axis=1), over, self._totals)
        _times, _envs, lengths, self._lengths = _summed(playing.astype(np.int64), over, self._lengths)
        for at in np.argsort(times, kind="stable").tolist():
            self.recent.append(Episode(float(totals[at]), int(lengths[at])))
        self.num_episodes += len(times)
        self.num_steps += int(playing.sum())

    def _count_steps(self, codes: IntArray, module_ids: Sequence[str]) -> None:
        for code, count in enumerate(np.bincount(codes).tolist()):
            if count:
                key = module_ids[code]
                self._num_agent_steps[key] = self._num_agent_steps.get(key, 0) + count

    def _add_agents(
        self,
        log: StepLog,
        rewards: Array,  # [T, P] that count
        ended: BoolArray,  # [T, P]
        over: BoolArray,  # [T, n]
        module_ids: Sequence[str],
    ) -> None:
        """Count the returns of single agents that left; who never acted has none."""
        ends = ended | np.tile(over, self._num_agents)
        times, pairs, returns, self._returns = _summed(rewards, ends, self._returns)
        codes = np.where(ended[times, pairs], log.module_of[times, pairs], -1)
        order = np.argsort(times, kind="stable")
        codes, returns = codes[order], returns[order]
        for code in np.flatnonzero(np.bincount(codes + 1)[1:]).tolist():
            known = self._module_returns.setdefault(module_ids[code], deque(maxlen=self._window))
            known.extend(returns[codes == code].tolist())

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


def _summed(values: Array, ends: BoolArray, before: Array) -> tuple[IntArray, IntArray, Array, Array]:
    """Add up `[T, K]` values from end to end of each column; `before` `[K]` came earlier for the open ones.

    Returns when and where the ends are, `[N]` each, the sums there, and `[K]` what is open now.

    >>> _summed(np.ones((3, 1)), np.array([[False], [True], [False]]), np.array([5.0]))
    (array([1]), array([0]), array([7.]), array([1.]))
    """
    total = np.cumsum(values, axis=0)
    total += before
    columns, times = np.nonzero(ends.T)
    sums = total[times, columns]
    open_now = total[-1].copy()
    if len(times):
        same = columns[1:] == columns[:-1]  # as the end before it
        open_now[columns[np.append(~same, True)]] -= sums[np.append(~same, True)]
        sums[1:] -= np.where(same, sums[:-1], 0)
    return times, columns, sums, open_now


def _earlier(flags: BoolArray) -> BoolArray:
    """`[T, K]`: whether a flag was set in an earlier step."""
    seen = np.logical_or.accumulate(flags, axis=0)
    return np.concatenate([np.zeros_like(flags[:1]), seen[:-1]])
