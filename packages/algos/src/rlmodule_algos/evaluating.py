"""Evaluation: whole episodes in environments of their own, made for it and closed after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.reporting import Result, evaluation_result
from rlmodule_algos.sampling import Episode, World
from rlmodule_algos.settings import ConfigError, PositiveInt, mismatch
from rlmodule_core import RLModule

MAX_PARALLEL = 32  # episodes played side by side


class Evaluator:
    """Plays other episodes each time: the seeds follow from its own and from the number of evaluations."""

    def __init__(self, make_world: Callable[[int], World], seed: int) -> None:
        self.num_evaluations = 0
        self._make_world = make_world
        self._seed = seed

    def play(
        self, modules: Mapping[str, RLModule], bridge: Bridge, num_episodes: int, *, explore: bool
    ) -> Result:
        """Return the statistics of `num_episodes` episodes, under `evaluation`.

        Raises ConfigError if it is no number of episodes.
        """
        if problem := mismatch(num_episodes, PositiveInt):
            raise ConfigError(f"evaluate: num_episodes: {problem}")
        self.num_evaluations += 1
        seeds = np.random.default_rng([self._seed, self.num_evaluations])
        episodes: list[Episode] = []
        returns: dict[str, list[float]] = {}
        while len(episodes) < num_episodes:
            world = self._make_world(min(num_episodes - len(episodes), MAX_PARALLEL))
            try:
                played = world.evaluate(modules, bridge, explore=explore, seed=int(seeds.integers(2**31)))
            finally:
                world.close()
            episodes += played.episodes
            for module_id, values in played.module_returns.items():
                returns.setdefault(module_id, []).extend(values)
        return {"evaluation": evaluation_result(episodes, returns)}
