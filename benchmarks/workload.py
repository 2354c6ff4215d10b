"""W1: PPO on CartPole-v1, and how it is measured. Standard library only: peers import it too.

8 environments x 128 steps an iteration, 4 epochs of 4 minibatches, two MLPs of 64x64 tanh.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass, field
from time import perf_counter, process_time

ENV_ID = "CartPole-v1"
NUM_ENVS = 8
NUM_STEPS = 128  # of each environment, an iteration
MINIBATCH_SIZE = 256
NUM_EPOCHS = 4
HIDDEN = (64, 64)  # of the policy and of the value function, which share nothing; tanh
LEARNING_RATE = 3e-4
GAMMA = 0.99
LAMBDA = 0.95
CLIP_PARAM = 0.2
VF_LOSS_COEFF = 0.5
ENTROPY_COEFF = 0.0
MAX_GRAD_NORM = 0.5
ADAM_EPSILON = 1e-5

BATCH_SIZE = NUM_ENVS * NUM_STEPS
WARMUP_ITERATIONS = 5  # not measured: first calls allocate, choose kernels and fill caches


@dataclass(frozen=True)
class Measurement:
    """What one process says of its iterations after the warm-up."""

    steps: int  # env steps
    seconds: float
    cpu_seconds: float  # user and system, of all threads
    peak_rss_mb: float  # of the whole process, imports included; NaN where it cannot be read
    episode_return: float  # mean over the last 100 episodes: proof that both sides learn
    stages: dict[str, float] = field(default_factory=dict)  # seconds by stage, where they are known

    @property
    def steps_per_second(self) -> float:
        """Env steps a second of wall time."""
        return self.steps / self.seconds

    @property
    def cpu_us_per_step(self) -> float:
        """Microseconds of CPU an env step; other work on the machine moves it less than wall time."""
        return 1e6 * self.cpu_seconds / self.steps

    def to_json(self) -> str:
        """Return one line, which `from_json` reads in the process that prints the table."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> Measurement:
        """Return what `to_json` wrote.

        >>> Measurement.from_json(Measurement(10, 2.0, 1.0, 300.0, 20.0).to_json()).steps_per_second
        5.0
        """
        return Measurement(**json.loads(line))


class Meter:
    """Takes the time from the end of the warm-up to the end of the last iteration."""

    def __init__(self) -> None:
        self._iterations = 0
        self._begin = self._end = (0, math.nan, math.nan)  # env steps, wall, CPU

    def iteration_ended(self, total_steps: int) -> bool:
        """Note that an iteration ended after so many env steps; returns whether it is measured."""
        self._iterations += 1
        self._end = (total_steps, perf_counter(), process_time())
        if self._iterations <= WARMUP_ITERATIONS:
            self._begin = self._end
            return False
        return True

    @property
    def steps(self) -> int:
        """Env steps measured so far."""
        return self._end[0] - self._begin[0]

    def measurement(self, *, episode_return: float, stages: dict[str, float] | None = None) -> Measurement:
        """Return what was measured."""
        _, seconds, cpu_seconds = (end - begin for begin, end in zip(self._begin, self._end, strict=True))
        return Measurement(self.steps, seconds, cpu_seconds, peak_rss_mb(), episode_return, stages or {})


class StepMeter:
    """Takes the time from the first update after the warm-up to the last one."""

    def __init__(self, warmup_steps: int) -> None:
        self._warmup_steps = warmup_steps
        self._begin: tuple[int, float, float] | None = None
        self._end = (0, math.nan, math.nan)  # env steps, wall, CPU

    def learned(self, total_steps: int) -> None:
        """Note that so many env steps were learned from by now."""
        self._end = (total_steps, perf_counter(), process_time())
        if self._begin is None and total_steps >= self._warmup_steps:
            self._begin = self._end

    @property
    def steps(self) -> int:
        """Env steps measured so far."""
        return 0 if self._begin is None else self._end[0] - self._begin[0]

    def measurement(self, *, episode_return: float) -> Measurement:
        """Return what was measured; the CPU time and the memory are those of this process alone."""
        if self._begin is None:
            raise RuntimeError(f"{self._end[0]} steps are fewer than the warm-up's {self._warmup_steps}")
        seconds, cpu_seconds = (
            end - begin for begin, end in zip(self._begin[1:], self._end[1:], strict=True)
        )
        return Measurement(self.steps, seconds, cpu_seconds, peak_rss_mb(), episode_return)


@dataclass(frozen=True)
class Run:
    """What a measured process is asked for."""

    steps: int  # to measure; the warm-up comes on top
    seed: int
    algorithm: str = "ppo"
    env: str = "cartpole"

    def arguments(self) -> list[str]:
        """Return the command line that `from_command_line` reads."""
        named = {"steps": self.steps, "seed": self.seed, "algorithm": self.algorithm, "env": self.env}
        return [word for name, value in named.items() for word in (f"--{name}", str(value))]

    @staticmethod
    def from_command_line() -> Run:
        """Return what the parent process asked for."""
        parser = argparse.ArgumentParser(description="One side of a benchmark of this folder.")
        parser.add_argument("--steps", type=int, required=True)
        parser.add_argument("--seed", type=int, required=True)
        parser.add_argument("--algorithm", choices=("ppo", "impala", "appo"), required=True)
        parser.add_argument("--env", choices=("cartpole", "pong"), default="cartpole")
        return Run(**vars(parser.parse_args()))


def peak_rss_mb() -> float:
    """Return the largest memory that this process had at once, in MB."""
    if sys.platform == "win32":
        return math.nan
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
