"""An environment that says what it was told to say, to test what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from rlmodule_algos.envs import MultiAgentEnv
from rlmodule_core.nest import Nest


class ScriptedMultiAgentEnv(MultiAgentEnv):
    """Gives one prepared answer after the other, whatever is done; an exception among them is raised.

    The first answer is what `reset` returns, the others what the steps return; every reset starts
    anew. `given` and `seeds` keep what came in.
    """

    def __init__(
        self,
        observation_spaces: Mapping[str, gym.Space[Any]],
        action_spaces: Mapping[str, gym.Space[Any]],
        answers: Sequence[Any],  # also such as break the contract
    ) -> None:
        self.possible_agents = list(observation_spaces)
        self.observation_spaces = observation_spaces
        self.action_spaces = action_spaces
        self.given: list[Mapping[str, Nest]] = []
        self.seeds: list[int | None] = []
        self.num_closed = 0
        self.position = 0  # of the next answer
        self._answers = answers

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Any:
        """Give the first answer."""
        self.seeds.append(seed)
        self.position = 0
        return self._answer()

    def step(self, actions: Mapping[str, Nest]) -> Any:
        """Give the next answer."""
        self.given.append(actions)
        return self._answer()

    def close(self) -> None:
        """Count."""
        self.num_closed += 1

    def _answer(self) -> Any:
        answer = self._answers[self.position]
        self.position += 1
        if isinstance(answer, Exception):
            raise answer
        return answer
