"""Our IMPALA and APPO beside RLlib's and Sample Factory's, two workers each: env steps per second.

    hatch run python benchmarks/async_workers.py                # CartPole-v1, 100,000 steps a run
    hatch run python benchmarks/async_workers.py --env pong     # ALE/Pong-v5, 6,000 steps of four frames

Each run is a process of its own, and the sides take turns. Start-up and the first steps are not measured.
`async_workload.py` holds the settings, `README.md` says how to read the table.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from async_workload import NUM_STEPS, NUM_WORKERS, WORKLOADS
from peers import (
    RLLIB,
    SAMPLE_FACTORY,
    BenchmarkError,
    Peer,
    PeerError,
    measured,
    peer_environment,
    peer_python,
)
from workload import Measurement, Run

Side = Callable[[int, int], Measurement]  # of the seed and the steps
THEIRS = ((SAMPLE_FACTORY, "appo"), (RLLIB, "impala"), (RLLIB, "appo"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env", choices=sorted(WORKLOADS), default="cartpole")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--steps", type=int, help="env steps measured in each run")
    asked = parser.parse_args()
    workload = WORKLOADS[asked.env]
    steps = workload.measured_steps if asked.steps is None else asked.steps
    sides = {f"rlmodule-algos {name}": ours(name, asked.env) for name in ("impala", "appo")}
    for peer, algorithm in THEIRS:
        try:
            sides[f"{peer.title} {algorithm}"] = theirs(peer, peer_python(peer), algorithm, asked.env)
        except PeerError as error:
            print(f"{error}\nit is left out", file=sys.stderr)
    print(
        f"{workload.env_id}, {NUM_WORKERS} workers x {workload.num_envs} envs, fragments of {NUM_STEPS} "
        f"steps, one pass over batches of {workload.batch_size}\n"
        f"{asked.rounds} x {steps:,} env steps a side, the sides taking turns",
        flush=True,
    )
    rates: dict[str, list[float]] = {name: [] for name in sides}
    returns: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(asked.rounds):
        for name, side in sides.items():
            try:
                measurement = side(seed, steps)
            except BenchmarkError as error:
                print(error, file=sys.stderr)
                continue
            rates[name].append(measurement.steps_per_second)
            returns[name].append(measurement.episode_return)
    print("\n" + "\n".join(table(rates, returns)))


def ours(algorithm: str, env: str) -> Side:
    """Return how one of our algorithms is measured."""
    return lambda seed, steps: measured(
        f"rlmodule-algos {algorithm}",
        Path(sys.executable),
        "run_async_ours.py",
        Run(steps, seed, algorithm, env),
        dict(os.environ),
    )


def theirs(peer: Peer, python: Path, algorithm: str, env: str) -> Side:
    """Return how one of a peer's algorithms is measured."""
    return lambda seed, steps: measured(
        f"{peer.title} {algorithm}", python, peer.script, Run(steps, seed, algorithm, env), peer_environment()
    )


def table(rates: dict[str, list[float]], returns: dict[str, list[float]]) -> list[str]:
    """Return the comparison as lines; the ratios are those of the medians."""
    row = "{:28} {:>9} {:>9} {:>9} {:>8} {:>16}".format
    lines = [
        row("", "median", "min", "max", "return", "ours to theirs"),
        row("", "steps/s", "", "", "at end", ""),
    ]
    for name, seen in rates.items():
        if not seen:
            lines.append(f"{name:28} did not run")
            continue
        mine = rates[f"rlmodule-algos {name.rpartition(' ')[2]}"]
        ratio = "" if mine is seen or not mine else f"{median(mine) / median(seen):.2f}x"
        figures = (f"{figure:,.0f}" for figure in (median(seen), min(seen), max(seen), median(returns[name])))
        lines.append(row(name, *figures, ratio))
    return lines


if __name__ == "__main__":
    main()
