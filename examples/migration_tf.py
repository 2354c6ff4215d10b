"""From a policy and a model to one TensorFlow module: two forwards, and a training loop of your own.

Where the old hooks went: what `make_model` built is made in the constructor; the distribution that
`make_model_and_action_dist` and `action_distribution_fn` named is returned by the forwards; what
`action_sampler_fn` and `compute_actions` decided with `explore` is now the choice between two of them.
"""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_tf import TfCategorical, TfDeterministic, TfRLModule, TfUpdater

# isort: split

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import tensorflow as tf

from rlmodule_algos import Policy
from rlmodule_core import NestedDict, RLModuleConfig


class MyRLModule(TfRLModule):
    """Explores by drawing from a Categorical, acts by its best class. Training uses what exploring gives."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.net = tf.keras.Sequential(
            [tf.keras.layers.Dense(32, activation="tanh"), tf.keras.layers.Dense(config.action_space.n)]
        )

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": TfCategorical(self.net(batch["obs"]))}

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": TfDeterministic(tf.argmax(self.net(batch["obs"]), axis=-1))}


class ImitationLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: tf.Tensor


def play(module: MyRLModule, env: gym.Env[Any, Any]) -> float:
    """Return the sum of rewards of one episode."""
    obs, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        output = module.forward_inference({"obs": tf.constant(obs[None])})
        obs, reward, terminated, truncated, _ = env.step(int(output["action_dist"].sample()[0]))
        total, over = total + float(reward), terminated or truncated
    return total


def compute(module: MyRLModule) -> None:
    """Call what `Policy` had, NumPy in and out; `explore` chooses a forward. See `algorithm.get_policy()`."""
    policy, obs = Policy(module, seed=0), np.eye(4, dtype=np.float32)
    drawn, _, extra = policy.compute_actions(obs, explore=True)
    logp = policy.compute_log_likelihoods(drawn, obs)
    print(f"explored: {drawn.tolist()}, log-likelihoods as drawn: {np.allclose(logp, extra['action_logp'])}")
    greedy, _, _ = policy.compute_actions_from_input_dict({"obs": obs}, explore=False)
    single = [int(policy.compute_single_action(row, explore=False).actions) for row in obs]
    print(f"greedy: {greedy.tolist()}, one by one: {single}")


def main() -> None:
    """Imitate a rule that balances CartPole: push to the side to which the pole moves."""
    tf.keras.utils.set_random_seed(1)
    env = gym.make("CartPole-v1")
    module = MyRLModule(
        RLModuleConfig(observation_space=env.observation_space, action_space=env.action_space)
    )
    obs = tf.random.normal([1024, 4])
    actions = tf.cast(obs[:, 2] + obs[:, 3] > 0, tf.int64)

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, tf.Tensor]) -> ImitationLoss:
        policy = module.forward_train({"obs": batch["obs"]})["action_dist"]
        return ImitationLoss(-tf.reduce_mean(policy.logp(batch["actions"])))

    updater = TfUpdater(module, loss)
    print(f"before: return {play(module, env):.0f}")
    for _ in range(100):
        result = updater.step({"obs": obs, "actions": actions}, {"lr": 1e-2})
    print(f"after:  return {play(module, env):.0f}, loss {result.loss.total_loss:.3f}")
    compute(module)


if __name__ == "__main__":
    main()
