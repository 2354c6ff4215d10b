"""What env runners and learners on Ray cost and give, measured in one run on this machine.

    hatch run python benchmarks/runners.py [--runners 0 1 2 4] [--steps 100000]

First the costs of one fragment: a call of an actor that does nothing, putting weights, reading them, and
bringing a fragment back, for a small and a large one; and of waiting for one of many runners. Then IMPALA's
steps per second on CartPole with so many runners; 0 is one runner in the process of the learner. The runners
share the machine's cores with the learner, so more runners than cores only show what crowding costs. Then
what an optimizer step of PPO takes with 0 (in process), 1 and 2 learners. Last a model on paper, from these
numbers alone, of 16, 128 and 1024 runners with a core each: docs/distributed.md has its formulas.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rlmodule_algos import ImpalaConfig, PPOConfig
from rlmodule_core.state import flatten_state

ROUNDS = 50
WARM_UP = 20  # iterations
STEPS = 512  # of a fragment: 32 steps of 16 environments, IMPALA's default
IN_FLIGHT = 2  # fragments of each runner
NETWORK = 1.25e9  # bytes per second: 10 Gbit/s
SMALL = "CartPole (18 kB)"
SIZES = {SMALL: 17_664, "pixels (14 MB)": 14_450_688}
CROWDS = (16, 128, 1024)


class Costs(NamedTuple):
    """Milliseconds of Ray for one fragment, or for weights, of one size."""

    call: float  # of an actor that does nothing
    put: float
    put_and_read: float
    get: float  # calling an actor and having what it returns


class Speed(NamedTuple):
    """What a run measured."""

    steps_per_s: float
    us_of: Mapping[str, float]  # microseconds a step: sample, learn, broadcast
    weights: int  # bytes


def median_ms(call: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


class Giver:
    """An actor."""

    def __init__(self, size: int) -> None:
        self.data = np.zeros(size, np.uint8)

    def nothing(self) -> None:
        """Do nothing."""

    def rest(self, seconds: float) -> None:
        """Take some time."""
        time.sleep(seconds)

    def give(self) -> np.ndarray[Any, Any]:
        """Return a fragment."""
        return self.data

    def read(self, refs: list[Any]) -> int:
        """Read weights."""
        import ray

        return int(ray.get(refs[0]).sum())


def fragment_costs() -> tuple[dict[str, Costs], dict[int, float]]:
    """Measure what Ray costs per fragment, and per wait for one of many, on a Ray of its own."""
    import ray

    from rlmodule_algos.execution.ray_session import Session

    costs = {}
    session = Session.enter(None, 1)
    try:
        for name, size in SIZES.items():
            actor: Any = ray.remote(num_cpus=0)(Giver).remote(size)
            data = np.zeros(size, np.uint8)
            ray.get(actor.nothing.remote())
            costs[name] = Costs(
                call=median_ms(lambda: ray.get(actor.nothing.remote())),  # noqa: B023
                put=median_ms(lambda: ray.put(data)),  # noqa: B023
                put_and_read=median_ms(lambda: ray.get(actor.read.remote([ray.put(data)]))),  # noqa: B023
                get=median_ms(lambda: ray.get(actor.give.remote())),  # noqa: B023
            )
            print(name, " ".join(f"{key} {ms:.2f} ms," for key, ms in costs[name]._asdict().items()))
            ray.kill(actor)
        return costs, waiting_costs(ray.remote(num_cpus=0)(Giver).remote(1))
    finally:
        session.leave()


def waiting_costs(actor: Any) -> dict[int, float]:
    """Measure a look at so many requests of which none is done, as the pool does it for each fragment."""
    import ray

    costs = {}
    pending = [actor.rest.remote(3600.0)]
    for count in CROWDS:
        pending += [actor.nothing.remote() for _ in range(count - len(pending))]
        costs[count] = median_ms(lambda: ray.wait(pending, num_returns=1, timeout=0))  # noqa: B023
        print(f"a look at {count} requests {costs[count]:.2f} ms")
    ray.kill(actor)
    return costs


def throughput(num_env_runners: int, steps: int) -> Speed:
    """Measure IMPALA's steps per second, and where the learner's time goes."""
    config = ImpalaConfig().environment("CartPole-v1").debugging(seed=0)
    with config.env_runners(num_env_runners=num_env_runners).build() as algorithm:
        for _ in range(WARM_UP):
            algorithm.train()
        first, begin, times, lags = algorithm.env_steps, time.perf_counter(), dict[str, float](), []
        while algorithm.env_steps - first < steps:
            result = algorithm.train()
            lags.append(result["learners"]["default_policy"]["lag_mean"])
            for name, seconds in result["timers"].items():
                times[name] = times.get(name, 0.0) + seconds
        done, seconds = algorithm.env_steps - first, time.perf_counter() - begin
        weights = sum(array.nbytes for array in flatten_state(algorithm.get_module().get_state()).values())
    us_of = {name: 1e6 * times[f"{name}_s"] / done for name in ("sample", "learn", "broadcast")}
    parts = ", ".join(f"{name} {us:.1f}" for name, us in us_of.items())
    print(
        f"{num_env_runners} runners: {done / seconds:8.0f} steps/s, {1e6 * seconds / done:5.1f} us a step "
        f"({parts}), mean lag {statistics.mean(lags):.1f}"
    )
    return Speed(done / seconds, us_of, weights)


def optimizer_step(name: str, **training: Any) -> None:
    """Print what a step takes with 0, 1 and 2 learners, in milliseconds."""
    shown = []
    for num_learners in (0, 1, 2):
        config = PPOConfig().environment("CartPole-v1").debugging(seed=0).learners(num_learners=num_learners)
        with config.training(num_epochs=1, **training).build() as algorithm:
            times = []
            for _ in range(6):
                result = algorithm.train()
                times.append(
                    1e3 * result["timers"]["learn_s"] / result["learners"]["default_policy"]["num_updates"]
                )
        shown.append(f"{num_learners} learners {statistics.median(times[1:]):.1f} ms")
    print(f"a step on {name}: {', '.join(shown)}")


def on_paper(alone: Speed, costs: Costs, waits: Mapping[int, float], env_us: float) -> None:
    """Print what limits runners with a core each, whose environments take so many microseconds a step more.

    One fragment an update; a link carries fragments one way and weights the other.
    """
    runner_ms = 1e-3 * STEPS * (alone.us_of["sample"] + env_us) + costs.call
    learner_ms = 1e-3 * STEPS * alone.us_of["learn"] + costs.get - costs.call + costs.put
    network = STEPS * NETWORK / max(SIZES[SMALL], alone.weights)
    print(
        f"\nenvironments of {env_us:.0f} us a step more: a fragment takes a runner {runner_ms:.1f} ms, "
        f"and the learner {learner_ms:.1f} ms and a look; steps/s that each would allow:"
    )
    print("runners | the runners | the learner | its network | so | lag in updates")
    for count in CROWDS:
        limits = 1e3 * STEPS * count / runner_ms, 1e3 * STEPS / (learner_ms + waits[count]), network
        shown = " | ".join(f"{limit:,.0f}" for limit in (*limits, min(limits)))
        print(f"{count} | {shown} | {IN_FLIGHT * count}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runners", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--steps", type=int, default=100_000)
    asked = parser.parse_args()
    costs, waits = fragment_costs()
    speeds = {count: throughput(count, asked.steps) for count in dict.fromkeys([0, *asked.runners])}
    optimizer_step("128 rows, 2 x 256 units", train_batch_size=2048, minibatch_size=128)
    wide = {"fcnet_hiddens": [1024, 1024]}
    optimizer_step("4096 rows, 2 x 1024 units", train_batch_size=4096, minibatch_size=4096, model=wide)
    for env_us in (0.0, 1000.0):
        on_paper(speeds[0], costs[SMALL], waits, env_us)


if __name__ == "__main__":
    main()
