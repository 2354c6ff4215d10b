"""Recorded episodes, checked, split, and given to the modules of the agents that played them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlmodule_algos.batching import counted
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.offline import (
    OfflineDataError,
    OfflineEpisode,
    check_episodes,
    read_episodes,
    split_episodes,
    stack_steps,
)
from rlmodule_algos.offline.feed import Feed, make_feed
from rlmodule_algos.sampling import PolicyMapping, Spaces
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest


@dataclass(frozen=True)
class ModuleData:
    """What one module learns from, and what it is validated with."""

    module: RLModule
    bridge: Bridge
    feed: Feed
    validation: Feed | None

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


def read_module_data(
    input_: Any,
    agents: Mapping[str, Spaces],
    mapping: PolicyMapping,
    modules: Mapping[str, RLModule],
    bridge: Bridge,
    *,
    validation_fraction: float,
    seed: int,
) -> dict[str, ModuleData]:
    """Return the data of each module that learns and has some, and show the modules what they will see.

    Raises OfflineDataError for data that cannot be read, is not of the agents' spaces, or is of no agent
    whose module learns.
    """
    episodes: Sequence[OfflineEpisode | Mapping[str, OfflineEpisode]] = read_episodes(input_)
    parts = split_episodes(episodes, validation_fraction, seed)
    training, validation = (_by_module(part, agents, mapping) for part in parts)
    data: dict[str, ModuleData] = {}
    for module_id, module in modules.items():
        if module_id in training:
            module.update_normalizer(stack_steps(training[module_id])[Columns.OBS])
            feed = make_feed(training[module_id], module, bridge, seed)
            held_out = validation.get(module_id)
            validated = None if held_out is None else make_feed(held_out, module, bridge, seed)
            data[module_id] = ModuleData(module, bridge, feed, validated)
    if not data:
        raise OfflineDataError(
            "offline_data", [f"no episode is of an agent whose module learns; those are {sorted(modules)}"]
        )
    return data


def _by_module(
    episodes: Sequence[OfflineEpisode | Mapping[str, OfflineEpisode]],
    agents: Mapping[str, Spaces],
    mapping: PolicyMapping,
) -> dict[str, list[OfflineEpisode]]:
    of_agent: dict[str, list[OfflineEpisode]] = {}
    single = next(iter(agents)) if len(agents) == 1 else None
    for episode in episodes:
        parts = {single: episode} if isinstance(episode, OfflineEpisode) else dict(episode)
        for agent, part in parts.items():
            of_agent.setdefault(str(agent), []).append(part)
    if unknown := sorted(set(of_agent) - set(agents)):
        raise OfflineDataError(
            "offline_data",
            [f"it has episodes of {unknown}; the agents of the environment are {sorted(agents)}"],
        )
    by_module: dict[str, list[OfflineEpisode]] = {}
    for agent, known in of_agent.items():
        check_episodes(
            known, agents[agent].observation, agents[agent].action, where=f"offline_data, agent {agent}"
        )
        by_module.setdefault(mapping(agent), []).extend(known)
    return by_module
