"""PPO with a module that is almost its own: by inheritance, and by another catalog; in PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_algos import PPOConfig
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import Buildable, RLModuleConfig, SingleAgentRLModuleSpec


class MyPPORLModule(PPOTorchRLModule):
    """PPO's module behind a learned scale for each number that it observes."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(config.observation_space.shape))

    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> Mapping[str, Any]:
        return super()._forward_train({**batch, "obs": batch["obs"] * self.scale})

    def _forward_inference(self, batch: Mapping[str, Any], **kwargs: Any) -> Mapping[str, Any]:
        return super()._forward_inference({**batch, "obs": batch["obs"] * self.scale})  # exploration calls it


class ResidualEncoder(nn.Module):
    """Returns the pair that PPO's module asks for: features of the actor and of the critic."""

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(input_dim, output_dim)
        self.second = nn.Linear(output_dim, output_dim)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Encode once for both."""
        features = torch.tanh(self.first(obs))
        features = features + torch.tanh(self.second(features))
        return features, features


@dataclass(frozen=True)
class ResidualEncoderConfig:
    """What a catalog answers: data, which knows how to become layers."""

    input_dim: int
    output_dim: int  # the heads are made for it

    def build(self, framework: str) -> nn.Module:
        """Make the layers; `framework` is "torch" here, since the module is."""
        return ResidualEncoder(self.input_dim, self.output_dim)


class MyAwesomeCatalog(PPOCatalog):
    """PPO's decisions, but for the encoder."""

    def get_actor_critic_encoder_config(self) -> Buildable:
        """Choose the residual encoder for vectors, and for all else what PPO has."""
        match self.observation_space:
            case spaces.Box(shape=(input_dim,)):
                return ResidualEncoderConfig(input_dim, self.settings.fcnet_hiddens[-1])
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
            .environment("CartPole-v1")
            .rl_module(rl_module_spec=spec)
            .training(model={"fcnet_hiddens": [32, 32]}, train_batch_size=512, num_epochs=4)
            .debugging(seed=0)
        )
        with config.build() as algorithm:
            module = algorithm.get_module()
            assert isinstance(module, PPOTorchRLModule)
            print(f"{type(module).__name__} with {type(module.encoder).__name__}")
            for _ in range(iterations):
                result = algorithm.train()
                print(f"  return {result['env_runners']['episode_return_mean']:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
