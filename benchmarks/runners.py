"""What env runners on Ray cost and give, measured in one run on this machine.

    hatch run python benchmarks/runners.py [--runners 0 1 2 4] [--steps 100000]

First the costs of one fragment: a call of an actor that does nothing, putting weights, reading them, and
bringing a fragment back, for a small and a large one. Then IMPALA's steps per second on CartPole with so
many runners; 0 is one runner in the process of the learner. The runners share the machine's cores with
the learner, so more runners than cores only show what crowding costs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rlmodule_algos import ImpalaConfig

ROUNDS = 50
WARM_UP = 20  # iterations
SIZES = {"CartPole, 32 steps x 16 envs (10 kB)": 10_000, "pixels, 32 steps x 16 envs (14 MB)": 14_450_688}


def median_ms(call: Callable[[], Any]) -> float:
    """Return the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times)


def fragment_costs() -> None:
    """Print what Ray costs per fragment, on a Ray of its own."""
    import ray

    from rlmodule_algos.execution.ray_pool import Session

    class Giver:
        def __init__(self, size: int) -> None:
            self.data = np.zeros(size, np.uint8)

        def nothing(self) -> None:
            return None

        def give(self) -> np.ndarray[Any, Any]:
            return self.data

        def read(self, refs: list[Any]) -> int:
            return int(ray.get(refs[0]).sum())

    session = Session.enter(None, 1)
    try:
        for name, size in SIZES.items():
            actor: Any = ray.remote(num_cpus=0)(Giver).remote(size)
            data = np.zeros(size, np.uint8)
            ray.get(actor.nothing.remote())
            print(f"{name}:")
            print(f"  actor call   {median_ms(lambda: ray.get(actor.nothing.remote())):8.2f} ms")  # noqa: B023
            print(f"  put          {median_ms(lambda: ray.put(data)):8.2f} ms")  # noqa: B023
            print(f"  put and read {median_ms(lambda: ray.get(actor.read.remote([ray.put(data)]))):8.2f} ms")  # noqa: B023
            print(f"  call and get {median_ms(lambda: ray.get(actor.give.remote())):8.2f} ms")  # noqa: B023
            ray.kill(actor)
    finally:
        session.leave()


def throughput(num_env_runners: int, steps: int) -> None:
    """Print IMPALA's steps per second, and where its time goes."""
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
    parts = {name: f"{100 * times[name] / seconds:.0f} %" for name in ("broadcast_s", "sample_s", "learn_s")}
    print(
        f"{num_env_runners} runners: {done / seconds:8.0f} steps/s, {1e6 * seconds / done:5.1f} us a step, "
        f"mean lag {statistics.mean(lags):.1f}, of the learner's time {parts}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runners", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--steps", type=int, default=100_000)
    asked = parser.parse_args()
    fragment_costs()
    for num_env_runners in asked.runners:
        throughput(num_env_runners, asked.steps)


if __name__ == "__main__":
    main()
