"""Run the learning matrix and print the table.

hatch run learning                               # every cell, both frameworks, seed 0
hatch run learning --cells ppo-lstm --seeds 5    # one row, five seeds
hatch run learning --frameworks torch
"""

from __future__ import annotations

import argparse

from cells import CELLS, Outcome, run_cell


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=sorted(CELLS), default=list(CELLS))
    parser.add_argument("--frameworks", nargs="+", choices=["torch", "tf"], default=["torch", "tf"])
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0 .. n - 1")
    chosen = parser.parse_args()
    print(
        f"{'cell':14}{'framework':11}{'seed':>4}{'score':>9}{'goal':>9}{'steps':>9}{'cap':>9}{'seconds':>9}"
    )
    failed = 0
    for name in chosen.cells:
        for framework in chosen.frameworks:
            for seed in range(chosen.seeds):
                cell, outcome = CELLS[name], run_cell(CELLS[name], framework, seed)
                failed += not outcome.passed
                print(
                    f"{name:14}{framework:11}{seed:4}{outcome.score:9.3f}{cell.threshold:9.2f}{outcome.steps:9}"
                    f"{cell.max_steps:9}{outcome.seconds:9.1f}  {verdict(outcome)}",
                    flush=True,
                )
    raise SystemExit(f"{failed} runs failed" if failed else 0)


def verdict(outcome: Outcome) -> str:
    """Tell what did not learn from what took too long; a busy machine makes the second."""
    if not outcome.reached:
        return "FAIL"
    return "pass" if outcome.in_time else "SLOW"


if __name__ == "__main__":
    main()
