"""Independent PPO: two agents share a module that learns, a third keeps one that does not."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from rlmodule_algos import PPO, MultiAgentCartPole, PPOConfig


def policy_of(agent: str) -> str:
    """Give each agent its module; asked once for each agent in each episode."""
    return "frozen" if agent == "agent_2" else "learner"


def logits(algorithm: PPO, module_id: str) -> npt.NDArray[np.float32]:
    """What a module says of four observations."""
    computed = algorithm.get_policy(module_id).compute_actions(np.eye(4, dtype=np.float32))
    return computed.extra["action_dist_inputs"]


def main(iterations: int = 15, *, framework: str = "torch") -> None:
    """Train, and see that only one of the modules moved."""
    config = (
        PPOConfig()
        .environment(MultiAgentCartPole, env_config={"num_agents": 3})
        .framework(framework)
        .multi_agent(
            policies=["learner", "frozen"], policy_mapping_fn=policy_of, policies_to_train=["learner"]
        )
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        before = {key: logits(algorithm, key) for key in algorithm.modules}
        for _ in range(iterations):
            result = algorithm.train()
        for key, mean in result["env_runners"]["module_episode_return_mean"].items():
            moved = not np.array_equal(logits(algorithm, key), before[key])
            print(f"{key}: return {mean:.1f}, moved: {moved}")
        print(f"learned: {sorted(result['learners'])}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
