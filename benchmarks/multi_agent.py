"""What a step of an agent costs when several act, against a single agent of the same total batch.

An agent whose pole fell keeps its place until the episode of its environment is over. So there are two
single-agent runs to compare with: one with as many rows as there are places, and one with as many as there
were agents acting on average, which makes as many agent steps in as many steps.

hatch run python benchmarks/multi_agent.py
hatch run python benchmarks/multi_agent.py --framework tf --agents 8
hatch run python benchmarks/multi_agent.py --profile shared     # where the time goes
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from statistics import mean, median
from typing import NamedTuple

from rlmodule_algos import PPO, MultiAgentCartPole, PPOConfig

STEPS = 128  # of each environment, an iteration
WARM_UP = 15  # iterations
GOAL = 1.5  # times the cost of a single agent
KINDS = ("single", "shared", "own")
AS_MANY_PLACES, AS_MANY_ACTING = "single, as many places", "single, as many acting"


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
    """Return the same model and iterations of as many steps for one agent, a shared module, or one for each.

    Nothing is learned, so that episodes stay as short for all: random agents fall after 22 steps, and wait
    for the last of their environment.
    """
    made = PPOConfig().framework(framework).debugging(seed=0)
    made.training(lr=1e-12, num_epochs=1, minibatch_size=256, model={"fcnet_hiddens": [64, 64]})
    if kind == "single":
        made.environment("CartPole-v1").env_runners(num_envs_per_env_runner=rows)
        return made.training(train_batch_size=STEPS * rows)
    made.training(train_batch_size=STEPS * rows // agents).environment(
        MultiAgentCartPole, env_config={"num_agents": agents}
    )
    made.env_runners(num_envs_per_env_runner=rows // agents)
    return made if kind == "shared" else made.multi_agent(policy_mapping_fn=lambda agent: agent)


def built(agents: int, rows: int, framework: str) -> dict[str, PPO]:
    """Return what is compared."""

    def made(kind: str, rows: int) -> PPO:
        return config(kind, agents, rows, framework).build()

    shared, own = made("shared", rows), made("own", rows)
    shares = [sample(shared).acting for _ in range(2 * WARM_UP)][WARM_UP:]  # at first nobody has fallen
    acting = round(rows * mean(shares))
    single = {AS_MANY_PLACES: made("single", rows), AS_MANY_ACTING: made("single", acting)}
    return {**single, "shared": shared, "own": own}


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
    for measured in (*[False] * WARM_UP, *[True] * rounds):
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
    print("microseconds of an agent step, and times that of a single agent of as many ...")
    print(f"{'':24}{'environment':>11}{'rest':>8}{'total':>8}{'acting':>8}{'places':>8}{'acting':>8}")
    for kind, cost in costs.items():
        ratios = [cost.total / costs[single].total for single in (AS_MANY_PLACES, AS_MANY_ACTING)]
        numbers = f"{cost.environment:11.2f}{cost.rest:8.2f}{cost.total:8.2f}{cost.acting:8.0%}"
        print(f"{kind:24}{numbers}" + ("" if kind.startswith("single") else "".join(map(verdict, ratios))))
    print(f"* over the goal of {GOAL}")


def verdict(ratio: float) -> str:
    """Return a ratio with a mark where it misses the goal."""
    return f"{ratio:7.2f}{' ' if ratio <= GOAL else '*'}"


def main() -> None:
    """Print the table, or a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--framework", choices=["torch", "tf"], default="torch")
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32, help="places side by side: agents x environments")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--profile", choices=KINDS)
    chosen = parser.parse_args()
    if chosen.profile is not None:
        with config(chosen.profile, chosen.agents, chosen.rows, chosen.framework).build() as algorithm:
            profile(algorithm)
        return
    algorithms = built(chosen.agents, chosen.rows, chosen.framework)
    report(measure(algorithms, chosen.rounds))
    for algorithm in algorithms.values():
        algorithm.stop()


if __name__ == "__main__":
    main()
