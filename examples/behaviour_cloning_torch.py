"""Behaviour cloning of recorded episodes with a PyTorch module that one names: one agent, and several."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from rlmodule_algos import BCConfig, MultiAgentCartPole
from rlmodule_algos.offline import record_episodes
from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec
from rlmodule_torch.bc_module import DiscreteBCTorchModule


def single_agent() -> BCConfig:
    """The spaces are the environment's, the hidden layer is the config's: the spec names the class alone."""
    return (
        BCConfig()
        .environment("CartPole-v1")
        .rl_module(
            _enable_rl_module_api=True,
            rl_module_spec=SingleAgentRLModuleSpec(module_class=DiscreteBCTorchModule),
        )
        .training(model={"fcnet_hiddens": [32, 32]})
    )


def multi_agent() -> BCConfig:
    """One spec is the template for every module; each agent gets a module of its own name."""
    return (
        BCConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 2})
        .multi_agent(policy_mapping_fn=lambda agent: agent)
        .rl_module(
            _enable_rl_module_api=True,
            rl_module_spec=MultiAgentRLModuleSpec(
                module_specs=SingleAgentRLModuleSpec(module_class=DiscreteBCTorchModule)
            ),
        )
        .training(model={"fcnet_hiddens": [32, 32]})
    )


def balance(obs: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Push to the side to which the pole moves."""
    return (obs[:, 2] + obs[:, 3] > 0).astype(np.int64)


def main(iterations: int = 20) -> None:
    """Clone the rule, first from its episodes, then for two agents who each play as it did."""
    episodes = record_episodes(balance, "CartPole-v1", num_episodes=20, num_envs=10)
    data = {"one": episodes, "two": [{"agent_0": episode, "agent_1": episode} for episode in episodes]}
    for agents, config in {"one": single_agent(), "two": multi_agent()}.items():
        config.training(lr=5e-3).offline_data(input_=data[agents]).debugging(seed=0)
        with config.build() as algorithm:
            for _ in range(iterations):
                learned = algorithm.train()["learners"]
            losses = {module_id: round(result["validation_loss"], 2) for module_id, result in learned.items()}
            played = algorithm.evaluate()["evaluation"]
            print(f"{agents}: validation loss {losses}, return {played['episode_return_mean']:.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
