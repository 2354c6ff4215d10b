"""A TensorFlow module of your own, and the spec that builds it."""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_tf import TfCategorical, TfRLModule

# isort: split

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import tensorflow as tf

from rlmodule_core import NestedDict, RLModuleConfig, SingleAgentRLModuleSpec


class DiscreteBCTfModule(TfRLModule):
    """Observation vector -> one hidden layer -> which of `n` actions; the same in all three phases."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        hidden_dim = self.config.model_config_dict["fcnet_hiddens"][0]
        self.input_dim = self.config.observation_space.shape[0]
        self.policy = tf.keras.Sequential(  # its variables exist as soon as the module is built
            [
                tf.keras.layers.Dense(hidden_dim, activation="relu"),
                tf.keras.layers.Dense(self.config.action_space.n),
            ]
        )

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": TfCategorical(self.policy(batch["obs"]))}

    # Needs no tf.stop_gradient: the public forward_exploration and forward_inference see to it.

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)


def main() -> None:
    """Build it for CartPole and call each phase."""
    env = gym.make("CartPole-v1")
    spec = SingleAgentRLModuleSpec(
        module_class=DiscreteBCTfModule,
        observation_space=env.observation_space,
        action_space=env.action_space,
        model_config_dict={"fcnet_hiddens": [64]},
    )
    module = spec.build()
    assert isinstance(module, DiscreteBCTfModule)  # for type checkers: a spec may name any class
    print(f"{sum(tf.size(weights).numpy() for weights in module.trainable_variables)} parameters")

    obs, _ = env.reset(seed=0)
    batch = {"obs": tf.constant(obs[None])}
    for forward in (module.forward_train, module.forward_exploration, module.forward_inference):
        with tf.GradientTape() as tape:
            distribution = forward(batch)["action_dist"]
        gradient = tape.gradient(distribution.inputs, module.trainable_variables)[0] is not None
        print(f"{forward.__name__}: {type(distribution).__name__}, gradient {gradient}")

    print(f"as multi-agent: {list(module.as_multi_agent())}")


if __name__ == "__main__":
    main()
