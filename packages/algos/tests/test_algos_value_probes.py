"""Environments so small that the value of a state is known exactly.

After A. Jones, "Debugging RL, without the agonizing pain".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import spaces

from rlmodule_algos import Algorithm, AlgorithmConfig, APPOConfig, ImpalaConfig, PPOConfig

Obs = npt.NDArray[np.float32]
NO_TF = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
by_framework = pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=NO_TF)])


class Probe(gym.Env[Obs, np.int64]):
    """`length` steps; what is seen and paid is given by name, and so is how the episode ends."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (1,))
        self.action_space = spaces.Discrete(2)
        self.length: int = config["length"]
        self.end: str = config["end"]
        self.kind: str = config["kind"]
        self.t = 0
        self.sign = 1.0

    def _obs(self) -> Obs:
        shown = {"constant": 0.0, "sign": self.sign, "delayed": float(self.t), "action": 0.0}[self.kind]
        return np.array([shown], dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Obs, dict[str, Any]]:
        super().reset(seed=seed)
        self.t, self.sign = 0, float(self.np_random.choice([-1.0, 1.0]))
        return self._obs(), {}

    def step(self, action: np.int64) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        self.t += 1
        over = self.t == self.length
        reward = {
            "constant": 1.0,
            "sign": self.sign,
            "delayed": float(over),
            "action": 1.0 if action == 1 else -1.0,
        }[self.kind]
        return self._obs(), reward, over and self.end == "terminated", over and self.end == "truncated", {}


def ppo(num_steps: int) -> AlgorithmConfig:
    """40 steps a row: no fragment cuts an episode of 1, 2 or 5 steps."""
    config = PPOConfig().training(train_batch_size=160, minibatch_size=160, num_epochs=8, lambda_=0.95)
    return config.training(lr=[[0, 5e-3], [num_steps, 1e-4]], vf_loss_coeff=1.0, grad_clip=None)


def lagging(kind: type[ImpalaConfig | APPOConfig]) -> Callable[[int], AlgorithmConfig]:
    """10 steps a row and a step on each, by weights that are up to two updates old."""

    def config(num_steps: int) -> AlgorithmConfig:
        made = kind().training(train_batch_size=40, broadcast_interval=3, lambda_=0.95, vf_loss_coeff=1.0)
        made.training(lr=[[0, 5e-3], [num_steps, 1e-4]], grad_clip=None)
        return made.env_runners(rollout_fragment_length=10)

    return config


ALGORITHMS = {"ppo": ppo, "impala": lagging(ImpalaConfig), "appo": lagging(APPOConfig)}
by_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def trained(
    name: str, kind: str, length: int, end: str, iterations: int = 80, framework: str = "torch"
) -> Algorithm[Any]:
    """Train for as many steps as PPO takes in so many iterations; the others use each of them less often."""
    num_steps = iterations * 160
    config = ALGORITHMS[name](num_steps)
    config.framework(framework).environment(Probe, env_config={"kind": kind, "length": length, "end": end})
    config.env_runners(num_envs_per_env_runner=4).training(gamma=0.9, model={"fcnet_hiddens": [16]})
    with config.debugging(seed=0).build() as algorithm:
        while algorithm.env_steps < num_steps:
            algorithm.train()
    return algorithm


def value(algorithm: Algorithm[Any], obs: float) -> float:
    seen = algorithm.framework.bridge.to_tensors({"obs": np.array([[obs]], np.float32)})
    output = algorithm.get_module().forward_train(seen)
    return float(algorithm.framework.bridge.to_numpy(output["vf_preds"])[0])


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=[NO_TF, pytest.mark.long])])
@by_algorithm
def test_a_constant_reward_that_is_only_truncated_is_worth_10(name: str, framework: str) -> None:
    algorithm = trained(name, "constant", length=5, end="truncated", iterations=150, framework=framework)

    assert value(algorithm, 0.0) == pytest.approx(10.0, abs=0.5)


@by_algorithm
def test_a_constant_reward_that_terminates_is_worth_the_mean_of_its_five_returns(name: str) -> None:
    # One observation, so V is the mean of the five lambda-returns, which bootstrap from V itself:
    # T_1 = 1, T_k = 1 + gamma ((1 - lambda) V + lambda T_k-1), V = mean(T_1 .. T_5), hence V = 2.689.
    assert value(trained(name, "constant", length=5, end="terminated"), 0.0) == pytest.approx(2.689, abs=0.03)


@by_algorithm
def test_one_step_with_reward_1_is_worth_1(name: str) -> None:
    assert value(trained(name, "constant", length=1, end="terminated"), 0.0) == pytest.approx(1.0, abs=0.02)


@by_algorithm
def test_a_reward_equal_to_the_observation_is_worth_the_observation(name: str) -> None:
    algorithm = trained(name, "sign", length=1, end="terminated")

    assert value(algorithm, 1.0) == pytest.approx(1.0, abs=0.05)
    assert value(algorithm, -1.0) == pytest.approx(-1.0, abs=0.05)


@by_framework
@by_algorithm
def test_a_reward_one_step_away_is_worth_gamma(name: str, framework: str) -> None:
    algorithm = trained(name, "delayed", length=2, end="terminated", framework=framework)

    assert value(algorithm, 0.0) == pytest.approx(0.9, abs=0.03)
    assert value(algorithm, 1.0) == pytest.approx(1.0, abs=0.03)


@by_algorithm
def test_of_two_actions_the_paid_one_is_learned(name: str) -> None:
    algorithm = trained(name, "action", length=1, end="terminated", iterations=30)
    output = algorithm.get_module().forward_inference({"obs": torch.zeros(1, 1)})
    p = torch.softmax(output["action_dist"].inputs, dim=-1)

    assert p[0, 1].item() > 0.95
