"""TensorFlow traces each function once, for batches of any size."""

from __future__ import annotations

from typing import Any

import pytest
from cells import CELLS, build

from rlmodule_algos import PPO
from rlmodule_algos.algorithm import Algorithm
from rlmodule_tf import bridge

NAMES = ["ppo-cnn", "ppo-lstm", "ppo-marl", "bc-cnn", "bc-lstm"]
SETTLING, LATER = 2, 2  # iterations


def traces(algorithm: Algorithm[Any]) -> dict[tuple[str, str], int]:
    """How often each compiled function was traced; a forward that runs eagerly fails here."""
    counts = {}
    for module_id, module in algorithm.modules.items():
        _, compiled = bridge._compiled.get(module, (0, {}))
        for forward, function in compiled.items():
            counts[module_id, forward] = function.experimental_get_tracing_count()
        updater: Any = algorithm.learner._updaters[module_id]
        counts[module_id, "step"] = len(updater._compiled)
    return counts


def grow(algorithm: Algorithm[Any]) -> None:
    """Let every sample be larger than the one before."""
    if not isinstance(algorithm, PPO):
        return  # the last batch of an epoch is smaller, and the cells' data has several epochs
    sample, calls = algorithm.pool.sample, iter(range(100))
    larger = lambda num_env_steps: sample(num_env_steps // 8 + 640 * next(calls))  # noqa: E731
    algorithm.pool.sample = larger  # type: ignore[method-assign]


@pytest.mark.parametrize("name", NAMES)
def test_batches_of_new_sizes_trace_nothing_once_two_sizes_were_seen(name: str) -> None:
    with build(CELLS[name], "tf", seed=0) as algorithm:
        grow(algorithm)
        for _ in range(SETTLING):
            algorithm.train()
        algorithm.evaluate(2)
        settled = traces(algorithm)
        sizes = []
        for iteration in range(LATER):
            sampled = algorithm.train()["env_runners"]["num_env_steps_sampled"]
            sizes.append(sampled)
            algorithm.evaluate(2 + iteration)

        assert traces(algorithm) == settled
        assert all(count == 1 for (_, what), count in settled.items() if what == "step")
        assert len(set(sizes)) == (LATER if isinstance(algorithm, PPO) else 1)
        assert max(settled.values()) <= 3  # one step while acting, sequences of two sizes in BC's data
