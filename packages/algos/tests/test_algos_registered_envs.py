"""Environments that a program registered with gymnasium, in processes that did not run it."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv as Poles

from rlmodule_algos.envs import make_env, register_missing, registrations

CartPoleEnv: Any = Poles  # gymnasium's types know no class among entry points


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Leave gymnasium's registry as it was."""
    before = dict(gym.registry)
    yield
    gym.registry.clear()
    gym.registry.update(before)


def test_what_was_registered_travels_and_is_registered_where_it_is_missing() -> None:
    gym.register("Mine-v0", CartPoleEnv, max_episode_steps=7)
    travelled = pickle.loads(pickle.dumps(registrations("Mine-v0")))
    del gym.registry["Mine-v0"]
    register_missing(travelled)
    env = make_env("Mine-v0", {}, 2)

    assert gym.spec("Mine-v0").max_episode_steps == 7
    assert env.num_envs == 2
    env.close()


def test_an_id_without_a_version_travels_with_all_of_its_versions() -> None:
    for version in (0, 3):
        gym.register(f"mine/Pole-v{version}", CartPoleEnv)
    gym.register("mine/Pole2-v0", CartPoleEnv)

    assert [spec.id for spec in registrations("mine/Pole")] == ["mine/Pole-v0", "mine/Pole-v3"]


def test_what_is_registered_there_stays() -> None:
    travelled = registrations("CartPole-v1")
    there = gym.registry["CartPole-v1"]
    register_missing(travelled)

    assert gym.registry["CartPole-v1"] is there


def test_a_class_of_the_script_that_is_registered_by_its_name_travels_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Pole(Poles):
        pass

    monkeypatch.setattr(sys.modules["__main__"], "Pole", Pole, raising=False)
    gym.register("Mine-v0", "__main__:Pole", vector_entry_point="__main__:Pole")
    (spec,) = registrations("Mine-v0")

    assert [spec.entry_point, spec.vector_entry_point] == [Pole, Pole]


@pytest.mark.parametrize("source", ["ALE/Pong-v5", "a_module:Mine-v0", lambda config: CartPoleEnv()])
def test_what_a_module_registers_when_it_is_imported_does_not_travel(source: Any) -> None:
    assert registrations(source) == ()
