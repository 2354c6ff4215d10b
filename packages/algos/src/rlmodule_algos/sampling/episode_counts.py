"""Statistics of episodes that several runners play."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rlmodule_algos.sampling.episodes import Episode, Episodes
from rlmodule_core import DEFAULT_MODULE_ID


class EpisodeCounts(NamedTuple):
    """What was counted between two moments."""

    recent: list[Episode]  # that finished
    module_returns: dict[str, list[float]]  # of single agents, by module
    num_episodes: int
    num_steps: int
    num_agent_steps: dict[str, int]


class EpisodeMeter:
    """Reads from a runner's tracker what is new since it was last read."""

    def __init__(self, episodes: Episodes) -> None:
        self._episodes = episodes
        self._num_episodes = episodes.num_episodes
        self._num_steps = episodes.num_steps
        self._agent_steps = dict(episodes.num_agent_steps)

    def read(self) -> EpisodeCounts:
        """Return what is new, and empty the tracker's windows so that nothing is told twice."""
        episodes = self._episodes
        agent_steps = dict(episodes.num_agent_steps)
        counts = EpisodeCounts(
            recent=list(episodes.recent),
            module_returns={key: list(returns) for key, returns in episodes.module_returns.items()},
            num_episodes=episodes.num_episodes - self._num_episodes,
            num_steps=episodes.num_steps - self._num_steps,
            num_agent_steps={
                key: count - self._agent_steps.get(key, 0) for key, count in agent_steps.items()
            },
        )
        self._num_episodes, self._num_steps = episodes.num_episodes, episodes.num_steps
        self._agent_steps = agent_steps
        episodes.recent.clear()
        for returns in episodes.module_returns.values():
            if isinstance(returns, deque):  # a window; a list was made for us alone
                returns.clear()
        return counts


class MergedEpisodes:
    """The episodes of all runners, in the order in which their fragments arrived.

    Its state is the one that a single runner's tracker has, so a run may go on with more or fewer runners.
    """

    def __init__(self, window: int = 100) -> None:
        self._window = window
        self.recent: deque[Episode] = deque(maxlen=window)
        self.num_episodes = 0
        self.num_steps = 0
        self._module_returns: dict[str, deque[float]] = {}
        self._num_agent_steps: dict[str, int] = {}

    @property
    def module_returns(self) -> Mapping[str, Sequence[float]]:
        """The recent returns of single agents, by the module that acted for them."""
        return self._module_returns

    @property
    def num_agent_steps(self) -> Mapping[str, int]:
        """The steps in which each module acted for an agent."""
        return self._num_agent_steps

    def add(self, counts: EpisodeCounts) -> None:
        """Count what a runner sent."""
        self.recent.extend(counts.recent)
        self.num_episodes += counts.num_episodes
        self.num_steps += counts.num_steps
        for key, returns in counts.module_returns.items():
            self._module_returns.setdefault(key, deque(maxlen=self._window)).extend(returns)
        for key, count in counts.num_agent_steps.items():
            self._num_agent_steps[key] = self._num_agent_steps.get(key, 0) + count

    def get_state(self) -> dict[str, Any]:
        """Return counters and windows."""
        return {
            "num_episodes": self.num_episodes,
            "num_steps": self.num_steps,
            "recent": [list(episode) for episode in self.recent],
            "module_returns": {key: list(returns) for key, returns in self._module_returns.items()},
            "num_agent_steps": dict(self._num_agent_steps),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned, or the tracker of a runner for one agent, which keeps less."""
        recent = [Episode(float(total), int(length)) for total, length in state["recent"]]
        of_modules = {DEFAULT_MODULE_ID: [episode.episode_return for episode in recent]}
        agent_steps = {DEFAULT_MODULE_ID: state["num_steps"]}
        of_modules = state.get("module_returns", of_modules)
        self.num_episodes, self.num_steps = state["num_episodes"], state["num_steps"]
        self.recent = deque(recent, maxlen=self._window)
        self._module_returns = {
            key: deque(map(float, returns), maxlen=self._window) for key, returns in of_modules.items()
        }
        self._num_agent_steps = dict(state.get("num_agent_steps", agent_steps))
