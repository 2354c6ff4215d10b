"""Sample Factory's side of the benchmark, as a process in the peer's environment.

Its only algorithm is APPO: `--algorithm` is read and has no effect. Its advantages are GAE's.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import gymnasium as gym
from async_workload import (
    BATCH_SIZE,
    ENTROPY_COEFF,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    NUM_ENVS,
    NUM_STEPS,
    NUM_WORKERS,
    VF_LOSS_COEFF,
    WARMUP_STEPS,
)
from sample_factory.algo.runners.runner import AlgoObserver  # type: ignore[import-not-found]
from sample_factory.cfg.arguments import (  # type: ignore[import-not-found]
    parse_full_cfg,
    parse_sf_args,
)
from sample_factory.envs.env_utils import register_env  # type: ignore[import-not-found]
from sample_factory.train import make_runner  # type: ignore[import-not-found]
from workload import ENV_ID, GAMMA, HIDDEN, Measurement, Run, StepMeter

NEVER = 1_000_000  # seconds


class Clock(AlgoObserver):  # type: ignore[misc]  # the peer is untyped here
    """Notes how many steps were learned from, and when."""

    def __init__(self) -> None:
        self.meter = StepMeter(WARMUP_STEPS)

    def on_training_step(self, runner: Any, training_iteration_since_resume: int) -> None:
        """Note the end of an update."""
        if runner.total_env_steps_since_resume:
            self.meter.learned(runner.total_env_steps_since_resume)


def make_env(
    name: str, cfg: object = None, env_config: object = None, render_mode: str | None = None
) -> gym.Env[Any, Any]:
    """Return one environment; the signature is the peer's."""
    return gym.make(name, render_mode=render_mode)


def arguments(run: Run, folder: str) -> list[str]:
    """Return the workload in Sample Factory's words; what is not here is its default."""
    settings = {
        "algo": "APPO",
        "env": ENV_ID,
        "experiment": "benchmark",
        "train_dir": folder,
        "seed": run.seed,
        "device": "cpu",
        "num_workers": NUM_WORKERS,
        "num_envs_per_worker": NUM_ENVS,
        "rollout": NUM_STEPS,
        "batch_size": BATCH_SIZE,
        "num_epochs": 1,
        "num_batches_per_epoch": 1,
        "use_rnn": False,
        "recurrence": 1,
        "with_vtrace": False,  # with it 2.1.1 needs a memory; GAE costs less
        "normalize_input": False,
        "normalize_returns": False,
        "nonlinearity": "tanh",
        "actor_critic_share_weights": False,
        "learning_rate": LEARNING_RATE,
        "gamma": GAMMA,
        "value_loss_coeff": VF_LOSS_COEFF,
        "exploration_loss_coeff": ENTROPY_COEFF,
        "max_grad_norm": MAX_GRAD_NORM,
        "train_for_env_steps": WARMUP_STEPS + run.steps,
        "save_every_sec": NEVER,
        "experiment_summaries_interval": NEVER,
    }
    layers = ["--encoder_mlp_layers", *map(str, HIDDEN)]
    return [f"--{name}={value}" for name, value in settings.items()] + layers


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    register_env(ENV_ID, make_env)
    with tempfile.TemporaryDirectory() as folder:
        chosen = arguments(run, folder)
        parser, _ = parse_sf_args(argv=chosen)
        _, runner = make_runner(parse_full_cfg(parser, chosen))
        clock = Clock()
        runner.register_observer(clock)
        runner.init()
        runner.run()
    episodes = runner.policy_avg_stats.get("reward", [[]])[0]
    return clock.meter.measurement(
        episode_return=sum(map(float, episodes)) / len(episodes) if episodes else math.nan
    )


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
