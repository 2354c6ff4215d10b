"""The command `rlmodule`: train, and play what was trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console

from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.appo import APPOConfig
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.impala import ImpalaConfig
from rlmodule_algos.ppo import PPOConfig
from rlmodule_algos.progress import training_progress
from rlmodule_algos.settings import ConfigError

EVALUATION_EPISODES = 20
CONFIGS: dict[str, type[AlgorithmConfig]] = {"ppo": PPOConfig, "impala": ImpalaConfig, "appo": APPOConfig}
app = tyro.extras.SubcommandApp()


@app.command(name="train")
@dataclass(frozen=True, kw_only=True)
class Train:
    """Train PPO, IMPALA or APPO, with live progress, and save a checkpoint."""

    env: str = "CartPole-v1"
    """Any gymnasium id."""
    algo: Literal["ppo", "impala", "appo"] = "ppo"
    framework: Literal["torch", "tf"] = "torch"
    steps: int = 150_000
    """Train until this many environment steps; the iteration that reaches them is finished."""
    stop_return: float | None = 475.0
    """Stop early at this mean return of 20 greedy episodes; None: never."""
    seed: int = 0
    out: Path = Path("runs")
    """Checkpoints go to <out>/<env>-<algo>-seed<seed>/."""

    def run(self, console: Console) -> None:
        """Train until the goal or the last step, then evaluate and save."""
        if self.steps < 1:
            raise ConfigError(f"--steps must be at least 1, got {self.steps}")
        folder = self.out / f"{self.env.replace('/', '-')}-{self.algo}-seed{self.seed}"
        with self.config().build() as algorithm:
            folder.mkdir(parents=True, exist_ok=True)  # so that it fails before training, not after
            training_progress(
                algorithm,
                console,
                max_steps=self.steps,
                stop_return=self.stop_return,
                episodes=EVALUATION_EPISODES,
            )
            report_evaluation(algorithm, console)
            path = algorithm.save(folder)
        console.print(f"Checkpoint: {path}")
        console.print(f"Play it again with: rlmodule evaluate {path}")

    def config(self) -> AlgorithmConfig:
        """Return the settings of this run: the algorithm's defaults."""
        return CONFIGS[self.algo]().environment(self.env).framework(self.framework).debugging(seed=self.seed)


@app.command(name="evaluate")
@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Play greedy episodes with a trained policy."""

    checkpoint: tyro.conf.Positional[Path]
    """A folder ckpt_<iteration>, or one that holds such folders: then the newest."""
    episodes: int = EVALUATION_EPISODES

    def run(self, console: Console) -> None:
        """Load the checkpoint and play."""
        with Algorithm.from_checkpoint(self.checkpoint) as algorithm:
            report_evaluation(algorithm, console, self.episodes)


def report_evaluation(
    algorithm: Algorithm[Any], console: Console, episodes: int = EVALUATION_EPISODES
) -> None:
    """Play greedy episodes and print what they returned."""
    played = algorithm.evaluate(episodes)["evaluation"]
    console.print(
        f"Greedy evaluation over {episodes} episodes: mean return {played['episode_return_mean']:.1f} "
        f"(min {played['episode_return_min']:.1f}, max {played['episode_return_max']:.1f})"
    )


def main() -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit status 2."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    command = app.cli(prog="rlmodule", description="Train and play reinforcement-learning policies.")
    try:
        command.run(console)
    except (ValueError, ImportError, OSError) as error:
        print(f"rlmodule: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("rlmodule: interrupted", file=sys.stderr)
        sys.exit(130)
