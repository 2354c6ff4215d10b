"""W3: IMPALA and APPO with two workers, on CartPole-v1 or Pong. Standard library only: peers import it too.

Each worker steps its environments 32 times a fragment. Every step is learned from once. CartPole has two MLPs
of 64x64 tanh, Pong one NatureCNN for policy and value. A step, which in Pong is four frames, counts when it
was learned from.
"""

from __future__ import annotations

from dataclasses import dataclass

NUM_WORKERS = 2
NUM_STEPS = 32  # of each environment, a fragment
LEARNING_RATE = 1e-3
VF_LOSS_COEFF = 0.5
ENTROPY_COEFF = 0.01
MAX_GRAD_NORM = 40.0
HIDDEN = (64, 64)
CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # filters, kernel, stride
AFTER_CONVOLUTIONS = 512  # units


@dataclass(frozen=True)
class Workload:
    """What differs between the two environments."""

    env_id: str
    is_image: bool
    num_envs: int  # of each worker
    warmup_steps: int  # not measured: processes start, first calls allocate, queues fill
    measured_steps: int

    @property
    def batch_size(self) -> int:
        """Steps of an update: one fragment of one worker."""
        return self.num_envs * NUM_STEPS


WORKLOADS = {
    "cartpole": Workload("CartPole-v1", False, num_envs=16, warmup_steps=20_000, measured_steps=100_000),
    "pong": Workload("ALE/Pong-v5", True, num_envs=8, warmup_steps=1_500, measured_steps=6_000),
}
