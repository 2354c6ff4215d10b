"""From a policy and a model to one PyTorch module: two forwards, and a training loop of your own.

Where the old hooks went: what `make_model` built is made in the constructor; the distribution that
`make_model_and_action_dist` and `action_distribution_fn` named is returned by the forwards; what
`action_sampler_fn` and `compute_actions` decided with `explore` is now the choice between two of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from rlmodule_algos import Policy
from rlmodule_core import NestedDict, RLModuleConfig
from rlmodule_torch import TorchCategorical, TorchDeterministic, TorchRLModule, TorchUpdater


class MyRLModule(TorchRLModule):
    """Explores by drawing from a Categorical, acts by its best class. Training uses what exploring gives."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        (obs_dim,) = config.observation_space.shape
        self.net = nn.Sequential(nn.Linear(obs_dim, 32), nn.Tanh(), nn.Linear(32, config.action_space.n))

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": TorchCategorical(self.net(batch["obs"]))}

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": TorchDeterministic(self.net(batch["obs"]).argmax(dim=-1))}


class ImitationLoss(NamedTuple):
    """Scalars; the first is what is minimised."""

    total_loss: Tensor


def play(module: MyRLModule, env: gym.Env[Any, Any]) -> float:
    """Return the sum of rewards of one episode."""
    obs, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        output = module.forward_inference({"obs": torch.from_numpy(obs)[None]})
        obs, reward, terminated, truncated, _ = env.step(output["action_dist"].sample().item())
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
    torch.manual_seed(0)
    env = gym.make("CartPole-v1")
    module = MyRLModule(
        RLModuleConfig(observation_space=env.observation_space, action_space=env.action_space)
    )
    obs = torch.randn(1024, 4)
    actions = (obs[:, 2] + obs[:, 3] > 0).long()

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> ImitationLoss:
        policy = module.forward_train({"obs": batch["obs"]})["action_dist"]
        return ImitationLoss(-policy.logp(batch["actions"]).mean())

    updater = TorchUpdater(module, loss)
    print(f"before: return {play(module, env):.0f}")
    for _ in range(100):
        result = updater.step({"obs": obs, "actions": actions}, {"lr": 1e-2})
    print(f"after:  return {play(module, env):.0f}, loss {result.loss.total_loss:.3f}")
    compute(module)


if __name__ == "__main__":
    main()
