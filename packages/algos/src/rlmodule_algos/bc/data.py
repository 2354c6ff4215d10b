"""Recorded episodes, checked, split, and given to the modules of the agents that played them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlmodule_algos.batching import counted
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.offline import (
    Episodes,
    OfflineDataError,
    OfflineEpisode,
    check_episodes,
    read_episodes,
    split_episodes,
    stack_steps,
)
from rlmodule_algos.offline.feed import Feed, make_feed
from rlmodule_algos.sampling import PolicyMapping, Spaces
from rlmodule_algos.sampling.world import SINGLE_AGENT
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest

WHERE = "offline_data"


@dataclass
class ModuleData:
    """What one module learns from, how far it is, and what it is validated with."""

    module: RLModule
    bridge: Bridge
    feed: Feed
    validation: Feed | None
    num_steps: int = 0  # learned from; a schedule follows them, so no other module moves it

    def validation_loss(self, num_steps: int) -> float:
        """Return the mean of -log pi(a|s) over the first steps of the validation data; NaN without any."""
        if self.validation is None:
            return float("nan")
        batch = self.validation.first(num_steps)
        batch[Columns.ACTION_LOGP] = self._logp(batch)
        return -float(np.mean(counted(batch, Columns.ACTION_LOGP)))

    def _logp(self, batch: Mapping[str, Nest]) -> Any:
        device = self.module.device
        tensors = {name: self.bridge.to_tensors(column, device) for name, column in batch.items()}
        with self.bridge.no_grad():
            output = self.bridge.call(self.module, "forward_exploration", tensors)
            policy = self.bridge.as_distribution(output[Columns.ACTION_DIST])
            return self.bridge.to_numpy(policy.logp(tensors[Columns.ACTIONS]))

    def get_state(self) -> dict[str, Any]:
        """Return how far the module is; the data itself is given again."""
        return {"feed": self.feed.get_state(), "num_steps": self.num_steps}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from where `get_state` was called."""
        num_steps = state["num_steps"]
        self.feed.set_state(state["feed"])
        self.num_steps = num_steps


@dataclass(frozen=True)
class ModuleEpisodes:
    """The episodes of each module id, those to learn from and those that are held out."""

    training: Mapping[str, Sequence[OfflineEpisode]]
    validation: Mapping[str, Sequence[OfflineEpisode]]

    def data_of(self, module_id: str, module: RLModule, bridge: Bridge, seed: int) -> ModuleData | None:
        """Return what a module learns from, and show it what it will see; None: no episode is of it."""
        if module_id not in self.training:
            return None
        episodes, held_out = self.training[module_id], self.validation.get(module_id)
        module.update_normalizer(stack_steps(episodes)[Columns.OBS])
        validation = None if held_out is None else make_feed(held_out, module, bridge, seed)
        return ModuleData(module, bridge, make_feed(episodes, module, bridge, seed), validation)


def read_by_module(
    input_: Any,
    agents: Mapping[str, Spaces],
    mapping: PolicyMapping,
    *,
    validation_fraction: float,
    seed: int,
) -> ModuleEpisodes:
    """Return the episodes of each module that agents are mapped to.

    An episode is held out only while each of its modules has another to learn from. Raises
    OfflineDataError for data that cannot be read, or is not of the environment's agents and spaces.
    """
    episodes = _of_agents(read_episodes(input_), agents)
    module_of = {agent: mapping(agent) for agent in dict.fromkeys(agent for one in episodes for agent in one)}
    parts = split_episodes([_of_modules(one, module_of) for one in episodes], validation_fraction, seed)
    training, validation = (_joined(part) for part in parts)
    return ModuleEpisodes(training, validation)


def _of_agents(episodes: Episodes, agents: Mapping[str, Spaces]) -> list[dict[str, OfflineEpisode]]:
    """Return `{agent id: episode}` for each, all of them of the environment's agents and spaces."""
    known: Sequence[OfflineEpisode | dict[str, OfflineEpisode]] = episodes  # all alike
    of_one = [{next(iter(agents)): episode} for episode in known if isinstance(episode, OfflineEpisode)]
    of_many = [
        {str(agent): part for agent, part in episode.items()}
        for episode in known
        if not isinstance(episode, OfflineEpisode)
    ]
    if problem := _wrong_agents(sorted({agent for episode in of_many for agent in episode}), sorted(agents)):
        raise OfflineDataError(WHERE, [problem])
    observations = {agent: spaces.observation for agent, spaces in agents.items()}
    actions = {agent: spaces.action for agent, spaces in agents.items()}
    check_episodes(of_one or of_many, observations, actions, where=WHERE)
    return of_one or of_many


def _wrong_agents(played: Sequence[str], agents: Sequence[str]) -> str | None:
    """Say how the agents of the data (none named: it is of one) are not those of the environment, or None."""
    if not played and len(agents) > 1:
        return (
            f"its episodes are of one agent, but the environment has {agents}; give each as "
            "{agent id: episode}"
        )
    unknown = [agent for agent in played if agent not in agents]
    if unknown and agents == [SINGLE_AGENT]:
        return (
            f"its episodes are of the agents {played}, but the environment has one agent; give its episodes "
            "alone, not as {agent id: episode}"
        )
    if unknown:
        return f"it has episodes of {unknown}; the agents of the environment are {agents}"
    return None


def _of_modules(
    episode: Mapping[str, OfflineEpisode], module_of: Mapping[str, str]
) -> dict[str, list[OfflineEpisode]]:
    of_modules: dict[str, list[OfflineEpisode]] = {}
    for agent, part in episode.items():
        of_modules.setdefault(module_of[agent], []).append(part)
    return of_modules


def _joined(parts: Sequence[Mapping[str, list[OfflineEpisode]]]) -> dict[str, list[OfflineEpisode]]:
    joined: dict[str, list[OfflineEpisode]] = {}
    for part in parts:
        for module_id, episodes in part.items():
            joined.setdefault(module_id, []).extend(episodes)
    return joined
