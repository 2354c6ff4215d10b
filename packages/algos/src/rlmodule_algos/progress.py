"""Training with live progress: steps, return, time left."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rlmodule_algos.algorithm import Algorithm

LINES = 20  # about as many progress lines where the output is no terminal


def training_progress(
    algorithm: Algorithm[Any],
    console: Console,
    *,
    max_steps: int,
    stop_return: float | None,
    episodes: int,
) -> None:
    """Train for `max_steps` environment steps, or until greedy episodes return `stop_return` on average.

    The greedy episodes are played only once training itself looks promising, as they cost time.
    """
    bar = Progress(
        TextColumn("env steps"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("return {task.fields[mean]}"),
        TextColumn("{task.fields[rate]} steps/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    next_line = 0
    with bar:
        task = bar.add_task("train", total=max_steps, mean="-", rate="-")
        while algorithm.env_steps < max_steps:
            result = algorithm.train()
            mean, rate = _shown(result)
            bar.update(task, completed=min(algorithm.env_steps, max_steps), mean=mean, rate=rate)
            if not console.is_terminal and algorithm.env_steps >= next_line:
                left = result["time_total_s"] * max(0.0, max_steps / algorithm.env_steps - 1)
                console.print(
                    f"env steps {algorithm.env_steps}/{max_steps}  return {mean}  {rate} steps/s  "
                    f"at most {left:.0f} s left"
                )
                next_line += max_steps // LINES
            if stop_return is not None and _reaches(algorithm, result, stop_return, episodes):
                break
    seconds = result["time_total_s"]
    console.print(
        f"Trained {algorithm.env_steps} env steps in {seconds:.1f} s ({mean} mean return in training)"
    )


def _shown(result: dict[str, Any]) -> tuple[str, str]:
    mean = result["env_runners"]["episode_return_mean"]
    rate = result["env_runners"]["num_env_steps_sampled"] / result["timers"]["iteration_s"]
    return "-" if math.isnan(mean) else f"{mean:.1f}", f"{rate:,.0f}"


def _reaches(algorithm: Algorithm[Any], result: dict[str, Any], goal: float, episodes: int) -> bool:
    """Whether greedy episodes return the goal, twice in a row, since once may be luck.

    They cost time, so they are played only where the exploring policy's best episode got there.
    """
    if not result["env_runners"]["episode_return_max"] >= goal:  # also where no episode has ended: NaN
        return False
    return all(algorithm.evaluate(episodes)["evaluation"]["episode_return_mean"] >= goal for _ in range(2))
