"""W3: IMPALA and APPO on CartPole-v1 with two workers. Standard library only: peers import it too.

Each worker steps 16 environments, 32 steps at a time. Every step is learned from once, in batches of
512. Two MLPs of 64x64 tanh. A step counts when it was learned from.
"""

from __future__ import annotations

NUM_WORKERS = 2
NUM_ENVS = 16  # of each worker
NUM_STEPS = 32  # of each environment, a fragment
BATCH_SIZE = NUM_ENVS * NUM_STEPS
LEARNING_RATE = 1e-3
VF_LOSS_COEFF = 0.5
ENTROPY_COEFF = 0.01
MAX_GRAD_NORM = 40.0
WARMUP_STEPS = 20_000  # not measured: processes start, first calls allocate, queues fill
