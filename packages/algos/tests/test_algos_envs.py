"""From an id, a class or a callable to a vector environment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from rlmodule_algos import ConfigError, EnvError, PPOConfig
from rlmodule_algos.envs import make_vector_env


class Recording(gym.Env[Any, Any]):
    """Keeps what it was made with, and every instance that was made."""

    made: list[Recording]

    def __init__(self, settings: Any = None, **kwargs: Any) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (2,))
        self.action_space = spaces.Discrete(2)
        self.settings, self.kwargs, self.closed = settings, kwargs, 0
        type(self).made.append(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 0.0, True, False, {}

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def recording() -> type[Recording]:
    Recording.made = []
    return Recording


@pytest.fixture
def registered(recording: type[Recording]) -> Iterator[str]:
    gym.register("AlgosRecording-v3", entry_point=recording, kwargs={"size": 4})
    yield "AlgosRecording-v3"
    del gym.registry["AlgosRecording-v3"]


# --- ids --------------------------------------------------------------------------------------


def test_an_unknown_id_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(EnvError, match=r"'CartPol-v1': it could not be made: .*Did you mean: `CartPole`"):
        make_vector_env("CartPol-v1", {}, 2)


@pytest.mark.parametrize("source", ["", "CartPole v1", "nowhere.at.all:CartPole-v1", "CartPole-v99"])
def test_an_id_that_cannot_be_found_is_refused_by_name(source: str) -> None:
    with pytest.raises(EnvError, match="could not be made"):
        make_vector_env(source, {}, 2)


def test_an_id_uses_its_own_vector_entry_point_where_there_is_one() -> None:
    env = make_vector_env("CartPole-v1", {}, 3)
    assert not isinstance(env, SyncVectorEnv)
    assert env.num_envs == 3
    env.close()


def test_an_id_without_version_is_the_newest_one() -> None:
    with pytest.warns(UserWarning, match="latest versioned"):
        env = make_vector_env("CartPole", {}, 2)
    assert env.spec is not None
    assert env.spec.id == "CartPole-v1"
    env.close()


def test_an_id_without_vector_entry_point_is_stepped_in_turn_and_reset_by_us(registered: str) -> None:
    env = make_vector_env(registered, {}, 3)
    assert isinstance(env, SyncVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert env.num_envs == len(Recording.made) == 3


def test_env_config_reaches_the_constructor_of_an_id_as_keywords(registered: str) -> None:
    make_vector_env(registered, {"goal": "far"}, 2)
    assert [env.kwargs for env in Recording.made] == [{"size": 4, "goal": "far"}] * 2


def test_env_config_reaches_a_vector_entry_point_as_keywords() -> None:
    env = make_vector_env("CartPole-v1", {"max_episode_steps": 7}, 2)
    env.reset(seed=0)
    lengths = [env.step(np.array([t % 2, t % 2]))[3].any() for t in range(7)]
    assert lengths == [False] * 6 + [True]  # truncated at the seventh step
    env.close()


def test_an_unknown_keyword_of_an_id_is_an_env_error() -> None:
    with pytest.raises(EnvError, match=r"'CartPole-v1': it could not be made: TypeError: .*'gravty'"):
        make_vector_env("CartPole-v1", {"gravty": 1.0}, 2)


def test_an_id_may_name_the_module_that_registers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "algos_registers_an_id.py").write_text(
        "import gymnasium as gym\n"
        "gym.register('AlgosOfModule-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        env = make_vector_env("algos_registers_an_id:AlgosOfModule-v0", {}, 2)
    finally:
        gym.registry.pop("AlgosOfModule-v0", None)
        sys.modules.pop("algos_registers_an_id", None)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.close()


# --- classes and callables --------------------------------------------------------------------


def test_each_environment_of_a_class_gets_a_copy_of_env_config(recording: type[Recording]) -> None:
    settings = {"goals": [1, [2, 3]], "nested": {"name": "a"}, "pair": (1, 2)}
    make_vector_env(recording, settings, 3)
    recording.made[0].settings["goals"][1].append(4)
    recording.made[0].settings["nested"]["name"] = "b"
    unchanged = {"goals": [1, [2, 3]], "nested": {"name": "a"}, "pair": (1, 2)}
    assert settings == unchanged
    assert [env.settings for env in recording.made[1:]] == [unchanged, unchanged]


def test_an_algorithm_gives_the_environment_plain_dicts_and_lists(recording: type[Recording]) -> None:
    given = {"goals": [1, 2], "nested": {"deep": [{"name": "a"}]}, "pair": (1, 2)}
    config = PPOConfig().environment(recording, env_config=given)
    config.env_runners(num_envs_per_env_runner=2).build().stop()
    for env in recording.made:
        assert repr(env.settings) == repr(given)


def test_a_callable_may_return_a_vector_environment(recording: type[Recording]) -> None:
    made = SyncVectorEnv([recording] * 5)
    assert make_vector_env(lambda settings: made, {}, 2) is made


def test_a_constructor_that_raises_is_an_env_error_with_its_cause() -> None:
    class Unbuildable(Recording):
        def __init__(self, settings: Any) -> None:
            raise RuntimeError("no display")

    with pytest.raises(
        EnvError, match=r"Unbuildable: it could not be made.*RuntimeError: no display"
    ) as caught:
        make_vector_env(Unbuildable, {}, 2)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_callable_without_argument_is_told_what_it_is_called_with(recording: type[Recording]) -> None:
    def make() -> gym.Env[Any, Any]:
        return recording()

    source: Any = make
    with pytest.raises(EnvError, match=r"make: .*called with one mapping, a copy of env_config.*TypeError"):
        make_vector_env(source, {}, 2)


@pytest.mark.parametrize("made", [None, 3, Recording])
def test_a_callable_that_makes_something_else_is_refused_with_its_type(made: Any) -> None:
    with pytest.raises(EnvError, match=rf"expected a gymnasium.Env or Vec.*, got {type(made).__name__}"):
        make_vector_env(lambda settings: made, {}, 2)


def test_a_callable_that_returns_one_environment_again_and_again_is_refused(
    recording: type[Recording],
) -> None:
    env = recording()
    with pytest.raises(EnvError, match=r"same object twice.*make a new environment at every call"):
        make_vector_env(lambda settings: env, {}, 2)


def test_an_object_that_makes_nothing_is_refused() -> None:
    source: Any = 3
    with pytest.raises(EnvError, match="expected an id, a class or a callable of one mapping, got int"):
        make_vector_env(source, {}, 2)


@pytest.mark.parametrize("kind", [gym.Env, VectorEnv])
def test_environment_refuses_an_environment_and_says_what_to_pass(
    kind: type[object], recording: type[Recording]
) -> None:
    env: Any = recording() if kind is gym.Env else SyncVectorEnv([recording])
    config = PPOConfig()
    with pytest.raises(ConfigError, match=rf"got {type(env).__name__}; .*pass a function that makes it"):
        config.environment(env)
    assert config.env is None


# --- closing ----------------------------------------------------------------------------------


def test_stopping_an_algorithm_closes_every_environment(recording: type[Recording]) -> None:
    config = PPOConfig().environment(recording).env_runners(num_envs_per_env_runner=3)
    algorithm = config.build()
    assert [env.closed for env in recording.made] == [0, 0, 0]
    algorithm.evaluate(2)
    assert [env.closed for env in recording.made] == [0, 0, 0, 1, 1]
    algorithm.stop()
    assert [env.closed for env in recording.made] == [1, 1, 1, 1, 1]


def test_environments_made_before_one_that_failed_are_closed(recording: type[Recording]) -> None:
    def make(settings: Any) -> gym.Env[Any, Any]:
        if len(recording.made) == 2:
            raise RuntimeError("licence in use")
        return recording(settings)

    with pytest.raises(EnvError, match="licence in use"):
        make_vector_env(make, {}, 3)
    assert [env.closed for env in recording.made] == [1, 1]


def test_environments_are_closed_when_the_module_cannot_be_built(recording: type[Recording]) -> None:
    config = PPOConfig().environment(recording).training(model={"fcnet_hiden": [4]})
    with pytest.raises(ValueError, match="fcnet_hiddens"):
        config.env_runners(num_envs_per_env_runner=2).build()
    assert [env.closed for env in recording.made] == [1, 1]
