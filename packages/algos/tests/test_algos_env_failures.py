"""An environment that raises is told with its row, its seed and the step, so that one can go there again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import TimeLimit

from rlmodule_algos import EnvError, MultiAgentEnv, PPOConfig
from rlmodule_algos.envs import EnvStream, MultiAgentStep, MultiAgentVectorEnv
from rlmodule_algos.envs.agent_groups import Columns

LENGTH = 3
SPACE = spaces.Box(-1, 1, (2,))


class Robot(gym.Env[Any, Any]):
    """Episodes of three steps; `fails(row, call, number)` says in which call a row raises."""

    observation_space, action_space = SPACE, spaces.Discrete(2)

    def __init__(self, row: int, fails: Callable[[int, str, int], bool]) -> None:
        self.row, self.fails, self.calls = row, fails, {"reset": 0, "step": 0}

    def count(self, call: str) -> None:
        self.calls[call] += 1
        if self.fails(self.row, call, self.calls[call]):
            raise ConnectionError("the arm is gone")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count("reset")
        self.now = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.count("step")
        self.now += 1
        return np.zeros(2, np.float32), 1.0, self.now == LENGTH, False, {}


def retried(step: Callable[..., Any]) -> Callable[..., Any]:
    """What others write around a step."""

    @wraps(step)
    def again(*args: Any, **kwargs: Any) -> Any:
        try:
            return step(*args, **kwargs)
        except ConnectionError as error:
            raise TimeoutError("in vain") from error

    return again


class Retrying(Robot):
    step = retried(Robot.step)


def in_turn(
    fails: Callable[[int, str, int], bool], mode: AutoresetMode = AutoresetMode.DISABLED, kind: Any = Robot
) -> SyncVectorEnv:
    return SyncVectorEnv([partial(kind, row, fails) for row in range(3)], autoreset_mode=mode)


def failure(env: Any, *, seed: int | None = 40, steps: int = 8) -> str:
    """Step until it fails."""
    stream = EnvStream(env)
    with pytest.raises(EnvError) as caught:
        play(stream, seed, steps)
    assert isinstance(caught.value.__cause__, (ConnectionError, TimeoutError))
    return str(caught.value)


def play(stream: EnvStream, seed: int | None, steps: int) -> None:
    stream.reset(seed)
    for _ in range(steps):
        stream.step(np.zeros(stream.num_envs, np.int64))


RAISED = "it raised ConnectionError: the arm is gone"


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_step_that_raises_is_told_with_row_seed_and_step(mode: AutoresetMode) -> None:
    said = failure(in_turn(lambda row, call, number: (row, call, number) == (1, "step", 2), mode))

    assert said == f"environment 1 (Robot), step 2 since it was seeded with 41: {RAISED}"


def test_the_first_reset_that_raises_is_told_with_row_and_seed() -> None:
    said = failure(in_turn(lambda row, call, number: (row, call) == (2, "reset")))

    assert said == f"environment 2 (Robot), reset with seed 42: {RAISED}"


@pytest.mark.parametrize(
    ("mode", "step"),
    [(AutoresetMode.NEXT_STEP, 4), (AutoresetMode.SAME_STEP, 3), (AutoresetMode.DISABLED, 3)],
)
def test_a_later_reset_that_raises_is_told_with_the_step_after_which_it_came(
    mode: AutoresetMode, step: int
) -> None:
    said = failure(in_turn(lambda row, call, number: (row, call, number) == (1, "reset", 2), mode))

    assert said == f"environment 1 (Robot), reset in step {step} since it was seeded with 41: {RAISED}"


def test_steps_are_counted_from_the_last_seed() -> None:
    stream = EnvStream(in_turn(lambda row, call, number: (row, call, number) == (0, "step", 7)))
    play(stream, 40, 5)
    with pytest.raises(EnvError, match=r"^environment 0 \(Robot\), step 2 since it was seeded with 50: "):
        play(stream, 50, 3)


def test_without_a_seed_none_is_told() -> None:
    def fails(row: int, call: str, number: int) -> bool:
        return (row, number) == (1, 2)

    said = failure(in_turn(fails), seed=None)
    assert said == f"environment 1 (Robot), step 2 since a reset without a seed: {RAISED}"


def test_the_row_is_told_through_wrappers_of_one_and_of_all_and_through_what_others_write_around_a_step() -> (
    None
):
    def limited(row: int, fails: Callable[[int, str, int], bool]) -> Any:
        return TimeLimit(Robot(row, fails), 100)

    def fails(row: int, call: str, number: int) -> bool:
        return (row, call, number) == (2, "step", 1)

    assert failure(in_turn(fails, kind=limited)).startswith("environment 2 (Robot), step 1 since")
    assert failure(VectorWrapper(in_turn(fails))).startswith("environment 2 (Robot), step 1 since")
    assert failure(in_turn(fails, kind=Retrying)) == (
        "environment 2 (Retrying), step 1 since it was seeded with 42: it raised TimeoutError: in vain"
    )


class Fast(VectorEnv[Any, Any, Any]):
    """Of somebody else, who steps all rows at once."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.single_observation_space, self.single_action_space = (
            num_envs,
            SPACE,
            spaces.Discrete(2),
        )

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros((self.num_envs, 2), np.float32), {}

    def step(self, actions: Any) -> Any:
        raise ConnectionError("the arm is gone")


def test_an_environment_of_many_rows_at_once_says_that_it_does_not_tell_which() -> None:
    place = "Fast, step 1 since it was seeded with 40"

    assert failure(Fast(4)) == f"{place}: {RAISED}; it does not tell which of its 4 environments that was"
    assert failure(Fast(1)) == f"{place}: {RAISED}"


class Shaky(SyncVectorEnv):
    """Fails by itself, when its environments are done."""

    def step(self, actions: Any) -> Any:
        super().step(actions)
        raise ConnectionError("the arm is gone")


def test_no_row_is_blamed_for_what_happened_outside_of_it() -> None:
    env = Shaky(
        [partial(Robot, row, lambda *call: False) for row in range(3)], autoreset_mode=AutoresetMode.DISABLED
    )

    assert failure(env) == (
        f"Shaky, step 1 since it was seeded with 40: {RAISED}; "
        "it does not tell which of its 3 environments that was"
    )


# --- many agents ----------------------------------------------------------------------------------


class Team(MultiAgentEnv):
    """One robot, seen as a team of one."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.robot = Robot(0, settings["fails"])
        self.possible_agents = ["ann"]
        self.observation_spaces, self.action_spaces = {"ann": SPACE}, {"ann": spaces.Discrete(2)}
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return {"ann": self.robot.reset(seed=seed)[0]}, {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        obs, reward, over, _, _ = self.robot.step(actions["ann"])
        return {"ann": obs}, {"ann": reward}, {"__all__": over}, {"__all__": False}, {}


class FastTeam(MultiAgentVectorEnv):
    """Of somebody else, who steps all rows at once."""

    def __init__(self, fails: str, num_envs: int = 2) -> None:
        self.fails, self.num_envs, self.possible_agents = fails, num_envs, ("ann",)
        self.observation_spaces, self.action_spaces = {"ann": SPACE}, {"ann": spaces.Discrete(2)}

    def page(self, over: bool) -> MultiAgentStep:
        obs, flags = np.zeros((self.num_envs, 2), np.float32), np.zeros((1, self.num_envs), np.bool_)
        ended = flags | over
        return MultiAgentStep([obs], flags | True, np.zeros(flags.shape, np.float32), ended, flags, ended[0])

    def reset(self, *, seed: int | None = None, rows: Any = None) -> MultiAgentStep:
        if self.fails == "reset" and rows is not None:
            raise ConnectionError("the arm is gone")
        return self.page(over=False)

    def step(self, actions: Columns, acting: Any) -> MultiAgentStep:
        if self.fails == "step":
            raise ConnectionError("the arm is gone")
        return self.page(over=True)

    def close(self) -> None:
        pass


def training_failure(env: Any, **settings: Any) -> str:
    made = PPOConfig().environment(env, env_config=settings).env_runners(num_envs_per_env_runner=2)
    made.training(train_batch_size=16, minibatch_size=8, num_epochs=1, model={"fcnet_hiddens": [4]})
    with made.debugging(seed=7).build() as algorithm, pytest.raises(EnvError) as caught:
        algorithm.train()
    return str(caught.value)


def test_an_environment_of_many_agents_is_told_with_row_episode_seed_and_step() -> None:
    said = training_failure(Team, fails=lambda row, call, number: (call, number) == ("step", LENGTH + 2))
    seeded = said.split("seeded with ")[1].split(":")[0]

    assert said == f"environment 0 (Team), step 2 of episode 2 since it was seeded with {seeded}: {RAISED}"
    assert seeded.isdigit()


def test_a_reset_of_many_agents_that_raises_is_told_as_well() -> None:
    said = training_failure(Team, fails=lambda row, call, number: (call, number) == ("reset", 2))

    assert said.startswith("environment 0 (Team), reset of episode 2 since it was seeded with ")


@pytest.mark.parametrize(("fails", "place"), [("step", "step 1"), ("reset", "reset in step 1")])
def test_many_agents_in_rows_at_once_are_told_as_one_agent_is(fails: str, place: str) -> None:
    said = training_failure(lambda settings: FastTeam(fails))

    assert said.startswith(f"FastTeam, {place} since it was seeded with ")
    assert said.endswith(f": {RAISED}; it does not tell which of its 2 environments that was")
