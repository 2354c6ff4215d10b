"""PPO with a module that is almost its own: by inheritance, and by another catalog; in TensorFlow."""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_algos.ppo import PPOTfRLModule

# isort: split

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from gymnasium import spaces

from rlmodule_algos import PPOConfig
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import Buildable, RLModuleConfig, SingleAgentRLModuleSpec


class MyPPORLModule(PPOTfRLModule):
    """PPO's module behind a learned scale for each number that it observes."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.scale = tf.Variable(tf.ones(config.observation_space.shape))

    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> Mapping[str, Any]:
        return super()._forward_train({**batch, "obs": batch["obs"] * self.scale})

    def _forward_inference(self, batch: Mapping[str, Any], **kwargs: Any) -> Mapping[str, Any]:
        return super()._forward_inference({**batch, "obs": batch["obs"] * self.scale})  # exploration calls it


class ResidualEncoder(tf.Module):
    """Returns the pair that PPO's module asks for: features of the actor and of the critic."""

    def __init__(self, output_dim: int) -> None:
        super().__init__()
        self.first = tf.keras.layers.Dense(output_dim, activation="tanh")
        self.second = tf.keras.layers.Dense(output_dim, activation="tanh")

    def __call__(self, obs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Encode once for both."""
        features = self.first(obs)
        features = features + self.second(features)
        return features, features


@dataclass(frozen=True)
class ResidualEncoderConfig:
    """What a catalog answers: data, which knows how to become layers."""

    output_dim: int  # the heads are made for it

    def build(self, framework: str) -> tf.Module:
        """Make the layers; `framework` is "tf" here, since the module is."""
        return ResidualEncoder(self.output_dim)


class MyAwesomeCatalog(PPOCatalog):
    """PPO's decisions, but for the encoder."""

    def get_actor_critic_encoder_config(self) -> Buildable:
        """Choose the residual encoder for vectors, and for all else what PPO has."""
        match self.observation_space:
            case spaces.Box(shape=(_,)):
                return ResidualEncoderConfig(self.settings.fcnet_hiddens[-1])
        return super().get_actor_critic_encoder_config()


def main(iterations: int = 2) -> None:
    """Train both on CartPole for some iterations of 512 steps."""
    specs = [
        SingleAgentRLModuleSpec(module_class=MyPPORLModule),
        SingleAgentRLModuleSpec(catalog_class=MyAwesomeCatalog),
    ]
    for spec in specs:
        config = (
            PPOConfig()
            .framework("tf")
            .environment("CartPole-v1")
            .rl_module(rl_module_spec=spec)
            .training(model={"fcnet_hiddens": [32, 32]}, train_batch_size=512, num_epochs=4)
            .debugging(seed=0)
        )
        with config.build() as algorithm:
            module = algorithm.get_module()
            assert isinstance(module, PPOTfRLModule)
            print(f"{type(module).__name__} with {type(module.encoder).__name__}")
            for _ in range(iterations):
                result = algorithm.train()
                print(f"  return {result['env_runners']['episode_return_mean']:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
