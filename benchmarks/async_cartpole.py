"""Our IMPALA and APPO beside Sample Factory's APPO on CartPole-v1, two workers: env steps per second.

    hatch run python benchmarks/async_cartpole.py [--rounds 3] [--steps 100000]

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

from async_workload import BATCH_SIZE, NUM_ENVS, NUM_STEPS, NUM_WORKERS
from peers import (
    SAMPLE_FACTORY,
    BenchmarkError,
    Peer,
    PeerError,
    measured,
    peer_environment,
    peer_python,
)
from workload import ENV_ID, HIDDEN, Measurement, Run

Side = Callable[[int, int], Measurement]  # of the seed and the steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--steps", type=int, default=100_000, help="env steps measured in each run (100000)")
    asked = parser.parse_args()
    sides = {f"rlmodule-algos {name}": ours(name) for name in ("impala", "appo")}
    try:
        sides[f"{SAMPLE_FACTORY.title} appo"] = theirs(SAMPLE_FACTORY, peer_python(SAMPLE_FACTORY), "appo")
    except PeerError as error:
        print(f"{error}\nour own figures follow", file=sys.stderr)
    print(
        f"{ENV_ID}, {NUM_WORKERS} workers x {NUM_ENVS} envs, fragments of {NUM_STEPS} steps, one pass over "
        f"batches of {BATCH_SIZE}, MLP {'x'.join(map(str, HIDDEN))} tanh\n"
        f"{asked.rounds} x {asked.steps:,} env steps a side, the sides taking turns",
        flush=True,
    )
    rates: dict[str, list[float]] = {name: [] for name in sides}
    returns: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(asked.rounds):
        for name, side in sides.items():
            try:
                measurement = side(seed, asked.steps)
            except BenchmarkError as error:
                print(error, file=sys.stderr)
                continue
            rates[name].append(measurement.steps_per_second)
            returns[name].append(measurement.episode_return)
    print("\n" + "\n".join(table(rates, returns)))


def ours(algorithm: str) -> Side:
    """Return how one of our algorithms is measured."""
    return lambda seed, steps: measured(
        f"rlmodule-algos {algorithm}",
        Path(sys.executable),
        "run_async_ours.py",
        Run(steps, seed, algorithm),
        dict(os.environ),
    )


def theirs(peer: Peer, python: Path, algorithm: str) -> Side:
    """Return how one of a peer's algorithms is measured."""
    return lambda seed, steps: measured(
        f"{peer.title} {algorithm}", python, peer.script, Run(steps, seed, algorithm), peer_environment()
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
