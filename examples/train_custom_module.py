"""A module of your own: three methods, any layers; PPO trains it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from rlmodule_algos import PPOConfig
from rlmodule_core import NestedDict, RLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_torch import TorchRLModule


class MyModule(TorchRLModule):
    """One network for policy and value. PPO asks `forward_train` for `action_dist` and `vf_preds`."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        hidden = config.model_config_dict["hidden"]
        self.body = nn.Sequential(nn.Linear(config.observation_space.shape[0], hidden), nn.ReLU())
        self.policy = nn.Linear(hidden, config.action_space.n)
        self.value = nn.Linear(hidden, 1)

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        features = self.body(batch["obs"])
        return {
            "action_dist": torch.distributions.Categorical(logits=self.policy(features)),
            "vf_preds": self.value(features).squeeze(-1),
        }

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)


def main(iterations: int = 10) -> None:
    """Train it on CartPole."""
    spec = SingleAgentRLModuleSpec(module_class=MyModule, model_config_dict={"hidden": 64})
    config = PPOConfig().environment("CartPole-v1").rl_module(rl_module_spec=spec).debugging(seed=0)
    with config.build() as algorithm:
        for _ in range(iterations):
            print(f"{algorithm.train()['env_runners']['episode_return_mean']:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
