"""A PyTorch module of your own, and the spec that builds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import torch
from torch import nn

from rlmodule_core import NestedDict, RLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_torch import TorchRLModule


class DiscreteBCTorchModule(TorchRLModule):
    """Observation vector -> one hidden layer -> which of `n` actions; the same in all three phases."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        hidden_dim = self.config.model_config_dict["fcnet_hiddens"][0]
        self.input_dim = self.config.observation_space.shape[0]
        self.policy = nn.Sequential(
            nn.Linear(self.input_dim, hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, self.config.action_space.n),
        )

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        logits = self.policy(batch["obs"])
        return {"action_dist": torch.distributions.Categorical(logits=logits)}

    # Needs no torch.no_grad(): the public forward_exploration and forward_inference see to it.

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)


def main() -> None:
    """Build it for CartPole and call each phase."""
    env = gym.make("CartPole-v1")
    spec = SingleAgentRLModuleSpec(
        module_class=DiscreteBCTorchModule,
        observation_space=env.observation_space,
        action_space=env.action_space,
        model_config_dict={"fcnet_hiddens": [64]},
    )
    module = spec.build()
    assert isinstance(module, DiscreteBCTorchModule)  # for type checkers: a spec may name any class
    print(f"{sum(weights.numel() for weights in module.parameters())} parameters")

    obs, _ = env.reset(seed=0)
    batch = {"obs": torch.from_numpy(obs)[None]}
    for forward in (module.forward_train, module.forward_exploration, module.forward_inference):
        distribution = forward(batch)["action_dist"]
        gradient = distribution.logits.requires_grad
        print(f"{forward.__name__}: {type(distribution).__name__}, gradient {gradient}")

    print(f"as multi-agent: {list(module.as_multi_agent())}")


if __name__ == "__main__":
    main()
