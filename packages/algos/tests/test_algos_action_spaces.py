"""PPO on every action space: what is drawn is stored, scored, learned from, and fits the environment."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_algos.envs import EnvStream, make_vector_env
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.ppo import PPO, PPOConfig
from rlmodule_algos.sampling import Actor, action_filter
from rlmodule_core import Columns
from rlmodule_core.nest import leaves_with_paths, map_nest

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
OBS = spaces.Box(-1.0, 1.0, (3,))
BOX = spaces.Box(np.array([-0.3, 2.0], np.float32), np.array([0.1, 5.0], np.float32))
NESTED = spaces.Dict(
    [  # not in the order of the keys
        ("turn", spaces.Discrete(3, start=-1)),
        ("arm", spaces.Tuple([BOX, spaces.MultiBinary((2, 2))])),
        ("grip", spaces.Dict({"fingers": spaces.MultiDiscrete([2, 3])})),
    ]
)
SPACES: dict[str, tuple[gym.Space[Any], dict[str, Any]]] = {
    "multi-discrete": (spaces.MultiDiscrete([2, 4, 3], start=[5, 0, -2]), {}),
    "multi-discrete of rank 2": (spaces.MultiDiscrete(np.array([[2, 3], [4, 2]])), {}),
    "multi-binary": (spaces.MultiBinary(3), {}),
    "box of rank 2": (spaces.Box(-1.0, 1.0, (2, 2)), {}),
    "box of rank 0": (spaces.Box(-1.0, 1.0, ()), {}),
    "squashed box": (BOX, {"squash_actions": True}),
    "squashed box, free log-std": (BOX, {"squash_actions": True, "free_log_std": True}),
    "nested": (NESTED, {}),
    "nested and squashed": (NESTED, {"squash_actions": True}),
    "tuple": (spaces.Tuple([spaces.Discrete(2), BOX]), {}),
}


class Tiny(gym.Env[Any, Any]):
    """Refuses what its action space does not contain; rewards large numbers."""

    def __init__(self, action_space: gym.Space[Any]) -> None:
        self.observation_space, self.action_space = OBS, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is none of {self.action_space}")
        reward = sum(float(np.sum(leaf)) for _, leaf in leaves_with_paths({"": action}))
        return self.observe(), reward, bool(self.np_random.random() < 0.2), False, {}

    def observe(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 3).astype(np.float32)


def config_of(framework: str, space: gym.Space[Any], model: dict[str, Any]) -> PPOConfig:
    return (
        PPOConfig()
        .environment(lambda _: Tiny(space))
        .framework(framework)
        .env_runners(num_envs_per_env_runner=4)
        .training(
            model={"fcnet_hiddens": [8], **model},
            train_batch_size=64,
            minibatch_size=32,
            num_epochs=2,
            entropy_coeff=0.01,
            use_kl_loss=True,
        )
        .debugging(seed=0)
    )


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", SPACES)
def test_two_iterations_run_with_finite_results_and_move_the_weights(framework: str, name: str) -> None:
    space, model = SPACES[name]
    with config_of(framework, space, model).build() as algorithm:
        before = map_nest(np.copy, algorithm.get_module().get_state())
        results = [algorithm.train()["learners"]["default_policy"] for _ in range(2)]
        moved = map_nest(lambda a, b: float(np.abs(a - b).max()), before, algorithm.get_module().get_state())
        action = algorithm.compute_single_action(OBS.sample())

    assert all(change > 0 for _, change in leaves_with_paths(moved))
    assert all(math.isfinite(value) for result in results for value in result.values()), results
    assert not any(result["num_skipped_updates"] for result in results)
    assert results[0]["entropy"] != results[1]["entropy"]
    assert space.contains(action), action


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", SPACES)
def test_the_log_probs_of_acting_are_those_that_learning_computes(framework: str, name: str) -> None:
    space, model = SPACES[name]
    with config_of(framework, space, model).build() as algorithm:
        assert isinstance(algorithm, PPO)
        (fragment,) = algorithm.pool.sample(64)["default_policy"]
        batch = algorithm._batch([fragment], algorithm.get_module())

    acted = fragment.real(fragment.action_logp)
    np.testing.assert_allclose(acted, batch[Columns.ACTION_LOGP], rtol=1e-4, atol=1e-4)
    assert np.ptp(acted) > 0


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("in_numpy", [True, False])
def test_nested_actions_are_drawn_and_scored_without_a_numpy_policy_too(
    framework: str, in_numpy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with config_of(framework, NESTED, {}).build() as algorithm:
        module, bridge = algorithm.get_module(), algorithm.framework.bridge
    monkeypatch.setattr(type(module), "numpy_form", lambda self: None)
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    given = module.forward_exploration({Columns.OBS: bridge.to_tensors(obs)})[Columns.ACTION_DIST]
    if not in_numpy:
        monkeypatch.setattr(type(given), "to_numpy", lambda self: None)

    actor = Actor(module, bridge, np.random.default_rng(0))
    draw, best = actor.act(obs, explore=True), actor.act(obs, explore=False).actions

    for actions in (draw.actions, best):
        for row in range(5):
            fitted = action_filter(NESTED)(map_nest(lambda leaf: leaf[row], actions))  # noqa: B023  # at once
            assert NESTED.contains(fitted)
    expected = bridge.to_numpy(given.logp(bridge.to_tensors(draw.actions)))
    actual: Any = draw.logp if draw.distribution is None else draw.distribution.logp(draw.actions)
    assert (draw.distribution is not None) == in_numpy
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_a_nested_box_is_clipped_for_the_environment_and_nothing_else_is_touched() -> None:
    drawn: dict[str, Any] = {
        "turn": np.array([-1, 1]),
        "arm": (np.full((2, 2), 9.0, np.float32), np.ones((2, 2, 2), np.int8)),
        "grip": {"fingers": np.array([[1, 2], [0, 0]])},
    }

    sent = action_filter(NESTED)(drawn)

    np.testing.assert_array_equal(sent["arm"][0], np.tile(BOX.high, (2, 1)))
    assert sent["arm"][1] is drawn["arm"][1]
    assert sent["turn"] is drawn["turn"]
    assert sent["grip"]["fingers"] is drawn["grip"]["fingers"]
    assert (drawn["arm"][0] == 9.0).all()


def test_a_vector_environment_hands_each_of_its_environments_its_part_of_a_nest() -> None:
    arrived: list[Any] = []

    class Listening(Tiny):
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            arrived.append(action)
            return super().step(action)

    stream = EnvStream(make_vector_env(lambda _: Listening(NESTED), {}, 2))
    stream.reset(seed=0)
    batched: dict[str, Any] = {
        "turn": np.array([-1, 1]),
        "arm": (np.array([[0.0, 3.0], [0.1, 4.0]], np.float32), np.zeros((2, 2, 2), np.int8)),
        "grip": {"fingers": np.array([[1, 2], [0, 0]])},
    }
    stream.step(batched)
    stream.close()

    assert [int(action["turn"]) for action in arrived] == [-1, 1]
    assert [action["grip"]["fingers"].tolist() for action in arrived] == [[1, 2], [0, 0]]
    np.testing.assert_array_equal([action["arm"][0] for action in arrived], batched["arm"][0])


def test_the_bridge_of_a_framework_refuses_a_plain_tensor_in_words() -> None:
    for name in FRAMEWORKS:
        bridge = Framework(name).bridge
        with pytest.raises(TypeError, match=r"action_dist: expected a distribution, such as .* got .*Tensor"):
            bridge.as_distribution(bridge.to_tensors(np.zeros((2, 3), np.float32)))
