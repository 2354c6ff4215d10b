"""What a step of an agent costs when several act, against one agent in as many environments.

hatch run python benchmarks/multi_agent.py
hatch run python benchmarks/multi_agent.py --framework tf --agents 8
hatch run python benchmarks/multi_agent.py --profile shared     # where the time goes
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from statistics import median
from typing import NamedTuple

from rlmodule_algos import PPO, MultiAgentCartPole, PPOConfig

BATCH = 4096  # agent steps of an iteration, were all agents always there
GOAL = 1.5  # times the cost of a single agent
KINDS = ("single", "shared", "own")


class Cost(NamedTuple):
    """Of an agent step, in microseconds."""

    environment: float
    rest: float  # acting and recording
    acting: float  # the share of agents that had not fallen; the others wait, and cost too

    @property
    def total(self) -> float:
        """Of both."""
        return self.environment + self.rest


def config(kind: str, agents: int, rows: int, framework: str) -> PPOConfig:
    """Return the same model and the same number of rows for one agent, a shared module, or one for each.

    Nothing is learned, so that episodes stay as short for all: random agents fall after 22 steps, and wait
    for the last of their environment.
    """
    made = PPOConfig().framework(framework).debugging(seed=0)
    made.training(lr=1e-12, num_epochs=1, minibatch_size=256, model={"fcnet_hiddens": [64, 64]})
    if kind == "single":
        made.environment("CartPole-v1").env_runners(num_envs_per_env_runner=rows)
        return made.training(train_batch_size=BATCH)
    made.training(train_batch_size=BATCH // agents).environment(
        MultiAgentCartPole, env_config={"num_agents": agents}
    )
    made.env_runners(num_envs_per_env_runner=rows // agents)
    return made if kind == "shared" else made.multi_agent(policy_mapping_fn=lambda agent: agent)


def sample(algorithm: PPO) -> Cost:
    """Run one iteration and return what an agent step of it cost."""
    result = algorithm.train()
    timers, counts = result["timers"], result["env_runners"]
    steps = sum(counts["num_agent_steps_sampled"].values())
    env_s, rest_s = timers["env_s"], timers["sample_s"] - timers["env_s"]
    places = counts["num_env_steps_sampled"] * algorithm.config.env_config.get("num_agents", 1)
    return Cost(1e6 * env_s / steps, 1e6 * rest_s / steps, steps / places)


def measure(algorithms: dict[str, PPO], rounds: int) -> dict[str, Cost]:
    """Return median costs; the kinds take turns, so that a busy minute hits all of them."""
    costs: dict[str, list[Cost]] = {kind: [] for kind in algorithms}
    for measured in (False, *[True] * rounds):
        for kind, algorithm in algorithms.items():
            cost = sample(algorithm)
            if measured:
                costs[kind].append(cost)
    return {kind: Cost(*map(median, zip(*found, strict=True))) for kind, found in costs.items()}


def profile(algorithm: PPO) -> None:
    """Print what ten iterations spend the most time in, the little learning included."""
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(10):
        sample(algorithm)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(r"rlmodule|gymnasium", 25)


def report(costs: dict[str, Cost]) -> None:
    """Print the table."""
    print("microseconds of an agent step\n        environment     rest    total    ratio   acting")
    for kind, cost in costs.items():
        ratio = cost.total / costs["single"].total
        verdict = "" if kind == "single" else "ok" if ratio <= GOAL else "over the goal"
        numbers = f"{cost.environment:11.2f}{cost.rest:9.2f}{cost.total:9.2f}{ratio:9.2f}{cost.acting:9.0%}"
        print(f"{kind:8}{numbers}  {verdict}")


def main() -> None:
    """Print the table, or a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--framework", choices=["torch", "tf"], default="torch")
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32, help="that act side by side: agents x environments")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--profile", choices=KINDS)
    chosen = parser.parse_args()
    kinds = KINDS if chosen.profile is None else (chosen.profile,)
    algorithms = {kind: config(kind, chosen.agents, chosen.rows, chosen.framework).build() for kind in kinds}
    if chosen.profile is not None:
        profile(algorithms[chosen.profile])
    else:
        report(measure(algorithms, chosen.rounds))
    for algorithm in algorithms.values():
        algorithm.stop()


if __name__ == "__main__":
    main()
