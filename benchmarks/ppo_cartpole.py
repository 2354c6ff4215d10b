"""Our PPO against Stable-Baselines3's on CartPole-v1: env steps per second, memory, shares of time.

    hatch run bench [--pairs 3] [--steps 100000] [--no-peer]

Each run is a process of its own, and the two sides take turns, because only ratios of runs that
were made together mean anything on a machine with other work. Imports, start-up and the first
iterations are not measured. `workload.py` holds the settings, `README.md` says how to read the table.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from peers import SB3, BenchmarkError, Peer, PeerError, measured, peer_environment, peer_python
from workload import (
    BATCH_SIZE,
    ENV_ID,
    HIDDEN,
    MINIBATCH_SIZE,
    NUM_ENVS,
    NUM_EPOCHS,
    NUM_STEPS,
    WARMUP_ITERATIONS,
    Measurement,
    Run,
)

OURS = "rlmodule-algos"


def main() -> None:
    """Measure and print."""
    options = parse_options()
    missing = [name for name in ("rlmodule_algos", "rlmodule_torch", "torch") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"ppo_cartpole.py: {', '.join(missing)} not installed; run `hatch run bench` in the repository, "
            "or pip install 'rlmodule-algos[torch]' first"
        )
    try:
        peer, python = (None, None) if options.no_peer else (SB3, peer_python(SB3))
    except PeerError as error:
        print(f"{error}\nour own figures follow", file=sys.stderr)
        peer, python = None, None
    print(
        f"PPO, {ENV_ID}, {NUM_ENVS} envs x {NUM_STEPS} steps, {NUM_EPOCHS} epochs x "
        f"{BATCH_SIZE // MINIBATCH_SIZE} minibatches, MLP {'x'.join(map(str, HIDDEN))} tanh, "
        "one torch thread\n"
        f"{options.pairs} x {options.steps:,} env steps a side after {WARMUP_ITERATIONS} iterations of "
        "warm-up, the two sides taking turns",
        flush=True,
    )
    ours, theirs = [], []
    try:
        for seed in range(options.pairs):
            run = Run(options.steps, seed)
            ours.append(measured(OURS, Path(sys.executable), "run_ours.py", run, dict(os.environ)))
            if peer is not None and python is not None:
                theirs.append(measured(peer.title, python, peer.script, run, peer_environment()))
    except BenchmarkError as error:
        sys.exit(str(error))
    print("\n" + "\n".join(table(ours, theirs, peer)))
    print("\n" + "\n".join(shares(ours)))


def parse_options() -> argparse.Namespace:
    """Return the options; exits with a message for those that cannot be."""
    parser = argparse.ArgumentParser(description="Our PPO against Stable-Baselines3's on CartPole-v1.")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--steps", type=int, default=100_000, help="env steps measured in each run (100000)")
    parser.add_argument("--no-peer", action="store_true", help="only our own side")
    options = parser.parse_args()
    for name in ("pairs", "steps"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    return options


def table(ours: Sequence[Measurement], theirs: Sequence[Measurement], peer: Peer | None) -> list[str]:
    """Return the comparison as lines."""
    row = "{:24} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}".format
    lines = [
        row("", "steps/s", "", "", "CPU us", "peak RSS", "return"),
        row("", "median", "min", "max", "a step", "MB", "at end"),
        row(OURS, *_cells(ours)),
    ]
    if peer is None or not theirs:
        return [*lines, "no peer, so no ratio"]
    return [
        *lines,
        row(peer.title, *_cells(theirs)),
        "",
        _ratios("ratio of steps/s, ours to theirs:", ours, theirs, lambda side: side.steps_per_second),
        _ratios("ratio of CPU time, theirs to ours:", theirs, ours, lambda side: side.cpu_us_per_step),
    ]


def shares(ours: Sequence[Measurement]) -> list[str]:
    """Return, as lines, where our time goes: the sums over all runs."""
    steps, seconds = sum(side.steps for side in ours), sum(side.seconds for side in ours)
    lines = [f"{'where our time goes':24} {'share':>8} {'us a step':>10}"]
    for stage in ours[0].stages:
        spent = sum(side.stages[stage] for side in ours)
        lines.append(f"{stage:24} {spent / seconds:8.1%} {1e6 * spent / steps:10.1f}")
    return lines


def _cells(sides: Sequence[Measurement]) -> list[str]:
    rates = [side.steps_per_second for side in sides]
    return [
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f}",
        f"{max(rates):,.0f}",
        f"{median(side.cpu_us_per_step for side in sides):.1f}",
        f"{max(side.peak_rss_mb for side in sides):,.0f}",
        f"{median(side.episode_return for side in sides):.0f}",
    ]


def _ratios(
    title: str,
    above: Sequence[Measurement],
    below: Sequence[Measurement],
    figure: Callable[[Measurement], float],
) -> str:
    """Say the ratio of a figure in each pair, and their median."""
    ratios = [figure(a) / figure(b) for a, b in zip(above, below, strict=True)]
    listed = " ".join(f"{ratio:.2f}" for ratio in ratios)
    return f"{title:35} {listed}, median {median(ratios):.2f}x"


if __name__ == "__main__":
    main()
