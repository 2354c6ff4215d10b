"""Observations that nothing can be learned from: masks that leave no choice, numbers beyond float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rlmodule_algos import EnvError, MultiAgentEnv, PPOConfig
from rlmodule_algos.sampling.choices import without_choice

LENGTH = 5


class Steps(gym.Env[Any, Any]):
    """Episodes of 5 steps; shows the mask, or the number, that is given for a step."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        shown = spaces.Box(-np.inf, np.inf, (2,), settings.get("dtype", np.float64))
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
        return self.show(), self.settings.get("reward", 1.0), self.now == LENGTH, False, {}


class Two(MultiAgentEnv):
    """Two agents, each in an environment of its own; only what the second sees is as it was told to be."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.pause = settings.get("pause", False)  # bob sees nothing in every other step
        self.envs = {"ann": Steps({**settings, "masks": {}, "numbers": {}}), "bob": Steps(settings)}
        self.possible_agents = [*self.envs]
        self.observation_spaces = {agent: env.observation_space for agent, env in self.envs.items()}
        self.action_spaces = {agent: env.action_space for agent, env in self.envs.items()}

    def reset(self, **kwargs: Any) -> Any:
        return {agent: env.reset()[0] for agent, env in self.envs.items()}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        answers = {agent: env.step(actions.get(agent)) for agent, env in self.envs.items()}
        obs = {agent: answer[0] for agent, answer in answers.items()}
        if self.pause and self.envs["bob"].now % 2 == 1:
            del obs["bob"]
        rewards = {agent: answer[1] for agent, answer in answers.items()}
        return obs, rewards, {"__all__": answers["bob"][2]}, {"__all__": False}, {}


def build(env: Any = Steps, **settings: Any) -> Any:
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


PAIR = spaces.Dict(
    {"turn": spaces.Discrete(3), "go": spaces.Tuple([spaces.MultiDiscrete(np.array([[2, 2]]))])}
)
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
        (spaces.MultiDiscrete([2, 3]), ([0, 0], [0, 1, 1]), set()),  # gymnasium's own form, so too
        (spaces.MultiDiscrete([2, 2]), ([0, 0], [0, 1]), set()),
        (spaces.Discrete(2), {"parts": [0, 0]}, set()),
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


@pytest.mark.filterwarnings("error")  # NumPy's own words about the cast would come first
@pytest.mark.parametrize("number", [1e300, -1e300, 4e38])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_number_that_float32_cannot_hold_is_refused_in_words(mode: AutoresetMode, number: float) -> None:
    def vector(settings: Any) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: Steps({"numbers": {2: number}})] * 2, autoreset_mode=mode)

    said = r"obs\.x is not finite at step 2 of .* a NaN, an infinity, or beyond what float32 holds"
    with build(vector) as algorithm, pytest.raises(EnvError, match=said):
        algorithm.train()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_final_observation_that_float32_cannot_hold_is_refused_as_well(mode: AutoresetMode) -> None:
    def vector(settings: Any) -> SyncVectorEnv:
        return SyncVectorEnv([lambda: Steps({"numbers": {LENGTH: 1e300}})] * 2, autoreset_mode=mode)

    with (
        build(vector) as algorithm,
        pytest.raises(EnvError, match=r"final obs\.x is not finite at step 4 of"),
    ):
        algorithm.train()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_an_agent_sees_beyond_float32_is_refused_as_well(dtype: Any) -> None:
    with (
        build(Two, numbers={2: 1e300}, dtype=dtype) as algorithm,
        pytest.raises(
            EnvError, match=r"environment 0, agent 'bob': obs\.x is not finite at step 2 of the fragment"
        ),
    ):
        algorithm.train()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("reward", [1e39, -1e300])
def test_a_reward_that_float32_cannot_hold_is_refused_in_words(reward: float) -> None:
    with (
        build(reward=reward) as algorithm,
        pytest.raises(
            EnvError, match=r"environment 0: reward is not finite at step 0 of .* beyond what float32 holds"
        ),
    ):
        algorithm.train()


@pytest.mark.filterwarnings("error")
def test_rewards_whose_sum_float32_cannot_hold_are_refused_in_words() -> None:
    with (
        build(Two, reward=3e38, pause=True) as algorithm,
        pytest.raises(
            EnvError, match=r"environment 0, agent 'bob': reward is not finite at step . of the fragment"
        ),
    ):
        algorithm.train()
