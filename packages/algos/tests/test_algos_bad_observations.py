"""Observations that nothing can be learned from: masks that forbid every action, numbers beyond float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import EnvError, PPOConfig

LENGTH = 5


class Steps(gym.Env[Any, Any]):
    """Episodes of 5 steps; shows the mask, or the number, that is given for a step."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        shown = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(3), "x": shown})
        self.action_space = spaces.Discrete(3)

    def show(self) -> dict[str, Any]:
        allowed = self.settings.get("masks", {}).get(self.now, [1, 1, 0])
        number = self.settings.get("numbers", {}).get(self.now, 1.0)
        return {"action_mask": np.array(allowed, np.int8), "x": np.array([0.0, number])}

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**kwargs)
        self.now = 0
        return self.show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.now += 1
        return self.show(), 1.0, self.now == LENGTH, False, {}


def build(**settings: Any) -> Any:
    made = PPOConfig().environment(Steps, env_config=settings).env_runners(num_envs_per_env_runner=2)
    return made.training(
        train_batch_size=16, minibatch_size=8, num_epochs=1, model={"fcnet_hiddens": [4]}
    ).build()


def test_a_mask_that_forbids_every_action_is_refused_with_its_place_and_nothing_is_learned() -> None:
    with build(masks={3: [0, 0, 0]}) as algorithm:
        before = algorithm.get_module().get_state()["pi"]
        with pytest.raises(
            EnvError,
            match=r"environment 0: obs\.action_mask forbids every action at step 3 of the fragment "
            r"\(\d in all\); the fragment was dropped",
        ):
            algorithm.train()
        after = algorithm.get_module().get_state()["pi"]
        np.testing.assert_array_equal(after["layers"]["0"]["weight"], before["layers"]["0"]["weight"])


def test_no_action_is_needed_behind_the_end_of_an_episode() -> None:
    with build(masks={LENGTH: [0, 0, 0]}) as algorithm:
        assert algorithm.train()["env_runners"]["num_env_steps_sampled"] == 16


@pytest.mark.parametrize("number", [1e300, -1e300, 4e38])
def test_a_number_that_float32_cannot_hold_is_refused_in_words(number: float) -> None:
    with (
        build(numbers={2: number}) as algorithm,
        pytest.raises(
            EnvError,
            match=r"obs\.x is not finite at step 2 of .* a NaN, an infinity, or beyond what float32 holds",
        ),
    ):
        algorithm.train()
