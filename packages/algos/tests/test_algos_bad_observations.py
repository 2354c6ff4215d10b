"""Observations that nothing can be learned from: masks that leave no choice, numbers beyond float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos import EnvError, MultiAgentEnv, PPOConfig
from rlmodule_algos.sampling.choices import without_choice

LENGTH = 5


class Steps(gym.Env[Any, Any]):
    """Episodes of 5 steps; shows the mask, or the number, that is given for a step."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        shown = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = settings.get("action_space", spaces.Discrete(3))
        self.logits = int(np.sum(getattr(self.action_space, "nvec", 3)))
        self.observation_space = spaces.Dict({"action_mask": spaces.MultiBinary(self.logits), "x": shown})

    def show(self) -> dict[str, Any]:
        allowed = self.settings.get("masks", {}).get(self.now, np.ones(self.logits))
        number = self.settings.get("numbers", {}).get(self.now, 1.0)
        return {"action_mask": np.array(allowed, np.int8), "x": np.array([0.0, number])}

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**kwargs)
        self.now = 0
        return self.show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.now += 1
        return self.show(), 1.0, self.now == LENGTH, False, {}


class Two(MultiAgentEnv):
    """Two agents, each in an environment of its own; only what the second sees is as it was told to be."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.envs = {"ann": Steps({"action_space": settings["action_space"]}), "bob": Steps(settings)}
        self.possible_agents = [*self.envs]
        self.observation_spaces = {agent: env.observation_space for agent, env in self.envs.items()}
        self.action_spaces = {agent: env.action_space for agent, env in self.envs.items()}

    def reset(self, **kwargs: Any) -> Any:
        return {agent: env.reset()[0] for agent, env in self.envs.items()}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        answers = {agent: env.step(actions[agent]) for agent, env in self.envs.items()}
        over = {"__all__": answers["bob"][2]}
        return {agent: answer[0] for agent, answer in answers.items()}, {}, over, {"__all__": False}, {}


def build(env: type = Steps, **settings: Any) -> Any:
    made = PPOConfig().environment(env, env_config=settings).env_runners(num_envs_per_env_runner=2)
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


COMPONENTS = spaces.MultiDiscrete([3, 2])


@pytest.mark.parametrize(
    ("mask", "named"), [([0, 0, 0, 1, 1], r"action\[0\]"), ([1, 1, 0, 0, 0], r"action\[1\]")]
)
@pytest.mark.parametrize(("env", "row"), [(Steps, "environment 0"), (Two, "environment 0, agent 'bob'")])
def test_a_mask_that_leaves_one_component_without_a_value_is_refused_as_well_with_its_name(
    env: type, row: str, mask: list[int], named: str
) -> None:
    with (
        build(env, masks={3: mask}, action_space=COMPONENTS) as algorithm,
        pytest.raises(
            EnvError,
            match=rf"^{row}: obs\.action_mask forbids every value of {named} at step 3 of the fragment "
            r"\(\d in all\); the fragment was dropped",
        ),
    ):
        algorithm.train()


def test_a_mask_that_leaves_each_component_one_value_is_learned_from() -> None:
    with build(masks={3: [0, 0, 1, 1, 0]}, action_space=COMPONENTS) as algorithm:
        assert algorithm.train()["env_runners"]["num_env_steps_sampled"] == 16


PAIR = spaces.Dict({"turn": spaces.Discrete(3), "go": spaces.Tuple([spaces.MultiDiscrete(np.array([[2, 2]]))])})
GO, TURN = [1, 1, 0, 1], [0, 0, 1]  # a dict's parts stand in the order of its keys, as their logits do


@pytest.mark.parametrize(
    ("space", "mask", "names"),
    [
        (spaces.Discrete(3), [0, 0, 0], {"action"}),
        (spaces.Discrete(3), [0, 1, 0], set()),
        (spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]), [0, 1, 0, 0], {"value of action[1]"}),
        (PAIR, GO + TURN, set()),
        (PAIR, [0, 0, 1, 1, 0, 0, 0], {"value of action.go[0][0, 0]", "value of action.turn"}),
        (PAIR, {"turn": TURN, "go": (GO,)}, set()),
        (
            PAIR,
            {"turn": [0, 0, 0], "go": ([1, 0, 0, 0],)},
            {"value of action.go[0][0, 1]", "value of action.turn"},
        ),
        (PAIR, {"turn": [0, 0, 0]}, set()),  # of another form: what it forbids, its module alone knows
        (PAIR, [0, 0], {"action"}),
        (spaces.MultiBinary(2), [0, 0], {"action"}),
    ],
)
def test_components_are_told_apart_in_every_space_of_choices(space: Any, mask: Any, names: set[str]) -> None:
    def column(part: Any) -> Any:  # [T, B, n], the second row allows everything
        if isinstance(part, dict):
            return {key: column(child) for key, child in part.items()}
        if isinstance(part, tuple):
            return tuple(map(column, part))
        return np.array([[part, np.ones_like(part)]], np.int8)

    none, found = without_choice(column(mask), space)

    assert none.shape[-1] == len(found)
    assert {found[part] for part in np.flatnonzero(none[0, 0])} == names
    assert not none[:, 1:].any()


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
