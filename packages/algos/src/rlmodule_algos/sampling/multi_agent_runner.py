"""Steps many agents with many modules and records a fragment for each module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from rlmodule_algos.batching import Fragment
from rlmodule_algos.envs import MultiAgentVectorEnv
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.sampling.agent_fragments import ActLog, OpenSteps
from rlmodule_algos.sampling.agents import Agents, CrewKey, IntArray, PolicyMapping
from rlmodule_algos.sampling.crews import Crews
from rlmodule_algos.sampling.episodes import AgentEpisodeTracker
from rlmodule_algos.sampling.evaluation import require_finite_rows
from rlmodule_algos.sampling.step_log import StepLog, Stepped
from rlmodule_core import RLModule
from rlmodule_core.blas_threads import one_blas_thread


class MultiAgentEnvRunner:
    """Many environments of many agents, and the modules that act in them.

    `modules` may gain and lose members between two calls. Fragments come for the modules that `learns`
    names.
    """

    def __init__(
        self,
        env: MultiAgentVectorEnv,
        modules: Mapping[str, RLModule],
        mapping: PolicyMapping,
        bridge: Bridge,
        *,
        learns: Callable[[], Collection[str]],
        seed: int | None,
    ) -> None:
        self.episodes = AgentEpisodeTracker(env.num_envs, len(env.possible_agents))
        self.env_seconds = 0.0  # spent inside environments, of all that sampling took
        self._modules = modules
        self._learns = learns
        self._rng = np.random.default_rng(seed)
        self._agents = Agents(env, modules, mapping, bridge, self._rng)
        self._open: dict[str, OpenSteps] = {}
        self._seed = seed
        self._started = False

    @property
    def num_envs(self) -> int:
        """The number of environments, which are stepped side by side."""
        return self._agents.env.num_envs

    def collect(self, num_steps: int, *, weights_version: int = 0) -> dict[str, Fragment]:
        """Step every environment `num_steps` times; modules that completed no step are left out.

        Raises EnvError if an environment failed; the fragments and the open episodes are dropped then,
        and the next call starts new ones.
        """
        if num_steps < 1:
            raise ValueError(f"collect: num_steps must be at least 1, got {num_steps}")
        try:
            with one_blas_thread():
                return self._sample(num_steps, weights_version)
        except BaseException:
            self._start_over()
            raise

    def _sample(self, num_steps: int, weights_version: int) -> dict[str, Fragment]:
        agents = self._agents
        if not self._started:
            agents.reset(self._seed)
            self._started = True
        crews = agents.crews()
        learns = {agents.number_of(module_id) for module_id in self._learns()}
        recorded = [not learns.isdisjoint(members) for members in crews.members]
        logs = self._logs_of_open_steps(crews, learns)
        steps: list[Stepped] = []
        for time in range(num_steps):
            actions, acted = agents.act(crews, explore=True)
            for key, step in acted.items():
                if recorded[key.crew]:
                    if key not in logs:
                        logs[key] = self._log_of(key, crews)
                    logs[key].act(time, step)
            begin = perf_counter()
            stepped = agents.step(actions)
            self.env_seconds += perf_counter() - begin
            for log in logs.values():
                log.step(stepped.ended)
            steps.append(stepped)
        return self._finish(logs, StepLog.stacked(steps), learns, weights_version)

    def _logs_of_open_steps(self, crews: Crews, learns: Collection[int]) -> dict[CrewKey, ActLog]:
        """Return logs that begin with what the last fragments left open, of modules that still learn."""
        found: dict[CrewKey, list[OpenSteps]] = {}
        for module_id, steps in self._open.items():
            number = self._agents.number_of(module_id)
            if number in learns:
                key = CrewKey(int(crews.crew_of[number]), self._agents.group_of(steps.acted.pairs))
                found.setdefault(key, []).append(steps)
        return {key: self._log_of(key, crews, steps) for key, steps in found.items()}

    def _log_of(self, key: CrewKey, crews: Crews, open_steps: Sequence[OpenSteps] = ()) -> ActLog:
        agents = self._agents
        first = self._modules[agents.module_ids[crews.members[key.crew][0]]]
        return ActLog(first, agents.num_pairs, open_steps)

    def _finish(
        self, logs: Mapping[CrewKey, ActLog], steps: StepLog, learns: Collection[int], version: int
    ) -> dict[str, Fragment]:
        fragments: dict[str, Fragment] = {}
        self._open = {}
        module_ids = self._agents.module_ids
        for log in logs.values():
            found, open_steps = log.finish(steps, self._agents, learns, version)
            fragments |= {module_ids[number]: fragment for number, fragment in found.items()}
            self._open |= {module_ids[number]: part for number, part in open_steps.items()}
        self.episodes.add(steps, module_ids)  # of what failed nothing is counted
        return fragments

    def forget(self, module_id: str) -> None:
        """Let nobody act with a module any more; its agents are mapped anew before their next step."""
        self._open.pop(module_id, None)
        if self._started:
            self._agents.forget(module_id)

    def get_state(self) -> dict[str, Any]:
        """Return the generator's state and the episode counters; open episodes are not kept."""
        return {"rng": self._rng.bit_generator.state, "episodes": self.episodes.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what `get_state` returned; the environments are reset before the next sample."""
        self._rng.bit_generator.state = state["rng"]
        self.episodes.set_state(state["episodes"])
        self._start_over()

    def _start_over(self) -> None:
        """Reset the environments before the next sample, with a seed that was not used before."""
        self._seed = int(self._rng.integers(2**31))
        self._started, self._open = False, {}
        self.episodes.drop_open()

    def close(self) -> None:
        """Close the environments."""
        self._agents.env.close()


def evaluate_agents(
    env: MultiAgentVectorEnv,
    modules: Mapping[str, RLModule],
    mapping: PolicyMapping,
    bridge: Bridge,
    *,
    explore: bool,
    seed: int | None,
) -> AgentEpisodeTracker:
    """Play one episode in each environment and return what was counted, in the order in which they ended.

    An environment that is done early plays on until all are; what follows is not counted. Raises EnvError
    if a reward, or an observation that is acted on, is not finite.
    """
    agents = Agents(env, modules, mapping, bridge, np.random.default_rng(seed))
    agents.reset(seed)
    episodes = AgentEpisodeTracker(env.num_envs, len(env.possible_agents), once=True)
    crews = agents.crews()
    steps: list[Stepped] = []
    count = 0
    with one_blas_thread():
        while episodes.playing.any():
            playing = np.tile(episodes.playing, len(env.possible_agents))
            actions, acted = agents.act(crews, explore=explore)
            for step in acted.values():
                name_of = _names(agents, step.pairs)
                require_finite_rows({"obs": step.obs}, playing[step.pairs], name_of, count)
            steps.append(agents.step(actions)._replace(left=[]))  # nobody learns from what was seen
            require_finite_rows({"reward": steps[-1].rewards}, playing, agents.name_of, count)
            count += 1
            if steps[-1].over.any():
                episodes.add(StepLog.stacked(steps), agents.module_ids)
                steps = []
    return episodes


def _names(agents: Agents, pairs: IntArray) -> Callable[[int], str]:
    return lambda row: agents.name_of(int(pairs[row]))
