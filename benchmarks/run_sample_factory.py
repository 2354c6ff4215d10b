"""Sample Factory's side of the benchmark, as a process in the peer's environment.

Its only algorithm is APPO: `--algorithm` is read and has no effect. Its advantages are GAE's.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import gymnasium as gym
from async_workload import (
    AFTER_CONVOLUTIONS,
    ENTROPY_COEFF,
    HIDDEN,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    NUM_STEPS,
    NUM_WORKERS,
    VF_LOSS_COEFF,
    WORKLOADS,
    Workload,
)
from sample_factory.algo.runners.runner import AlgoObserver  # type: ignore[import-not-found]
from sample_factory.cfg.arguments import (  # type: ignore[import-not-found]
    parse_full_cfg,
    parse_sf_args,
)
from sample_factory.envs.env_utils import register_env  # type: ignore[import-not-found]
from sample_factory.train import make_runner  # type: ignore[import-not-found]
from workload import GAMMA, Measurement, Run, StepMeter

NEVER = 1_000_000  # seconds


class Clock(AlgoObserver):  # type: ignore[misc]  # the peer is untyped here
    """Notes how many steps were learned from, and when."""

    def __init__(self, warmup_steps: int) -> None:
        self.meter = StepMeter(warmup_steps)

    def on_training_step(self, runner: Any, training_iteration_since_resume: int) -> None:
        """Note the end of an update."""
        if runner.total_env_steps_since_resume:
            self.meter.learned(runner.total_env_steps_since_resume)


def make_env(
    name: str, cfg: object = None, env_config: object = None, render_mode: str | None = None
) -> gym.Env[Any, Any]:
    """Return one environment, Pong in the peer's own wrappers; the signature is the peer's."""
    if name.startswith("ALE/"):
        import ale_py  # noqa: F401 - which registers its games
        from sf_examples.atari.atari_utils import make_atari_env  # type: ignore[import-not-found]

        pong: gym.Env[Any, Any] = make_atari_env("atari_pong", cfg, env_config, render_mode)
        return pong
    return gym.make(name, render_mode=render_mode)


def model(workload: Workload) -> tuple[dict[str, object], list[str]]:
    """Return the network in Sample Factory's words: settings, and the arguments that are lists."""
    if not workload.is_image:
        shape: dict[str, object] = {"nonlinearity": "tanh", "actor_critic_share_weights": False}
        return shape, ["--encoder_mlp_layers", *map(str, HIDDEN)]
    images = {"encoder_conv_architecture": "convnet_atari", "nonlinearity": "relu", "obs_scale": 255.0}
    frames = {"env_frameskip": 4, "env_framestack": 4, "summaries_use_frameskip": False}
    return images | frames | {"actor_critic_share_weights": True}, [
        "--encoder_conv_mlp_layers",
        str(AFTER_CONVOLUTIONS),
    ]


def arguments(run: Run, folder: str) -> list[str]:
    """Return the workload in Sample Factory's words; what is not here is its default."""
    workload = WORKLOADS[run.env]
    shape, layers = model(workload)
    settings = {
        "algo": "APPO",
        "env": workload.env_id,
        "experiment": "benchmark",
        "train_dir": folder,
        "seed": run.seed,
        "device": "cpu",
        "num_workers": NUM_WORKERS,
        "num_envs_per_worker": workload.num_envs,
        "rollout": NUM_STEPS,
        "batch_size": workload.batch_size,
        "num_epochs": 1,
        "num_batches_per_epoch": 1,
        "use_rnn": False,
        "recurrence": 1,
        "with_vtrace": False,  # with it 2.1.1 needs a memory; GAE costs less
        "normalize_input": False,
        "normalize_returns": False,
        "learning_rate": LEARNING_RATE,
        "gamma": GAMMA,
        "value_loss_coeff": VF_LOSS_COEFF,
        "exploration_loss_coeff": ENTROPY_COEFF,
        "max_grad_norm": MAX_GRAD_NORM,
        "train_for_env_steps": workload.warmup_steps + run.steps,
        "save_every_sec": NEVER,
        "experiment_summaries_interval": NEVER,
        **shape,
    }
    return [f"--{name}={value}" for name, value in settings.items()] + layers


def measure(run: Run) -> Measurement:
    """Train for the warm-up and `run.steps` env steps."""
    workload = WORKLOADS[run.env]
    register_env(workload.env_id, make_env)
    with tempfile.TemporaryDirectory() as folder:
        chosen = arguments(run, folder)
        parser, _ = parse_sf_args(argv=chosen)
        _, runner = make_runner(parse_full_cfg(parser, chosen))
        clock = Clock(workload.warmup_steps)
        runner.register_observer(clock)
        runner.init()
        runner.run()
    episodes = runner.policy_avg_stats.get("reward", [[]])[0]
    return clock.meter.measurement(
        episode_return=sum(map(float, episodes)) / len(episodes) if episodes else math.nan
    )


if __name__ == "__main__":
    print(measure(Run.from_command_line()).to_json())
