"""Every algorithm learns every feature in both frameworks: the matrix of `cells.py`.

By default a few cells; `-m long -s` runs all forty with five seeds and prints each run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cells import APPO_CELLS, CELLS, IMPALA_CELLS, PPO_CELLS, Cell, build, run_cell

from rlmodule_algos import PPO, PPOConfig
from rlmodule_algos.batching import evaluate_fragment

FAST = [
    ("ppo-fc", "torch"),
    ("bc-cnn", "tf"),
    ("ppo-lstm", "tf"),
    ("bc-complex", "torch"),
    ("ppo-marl", "torch"),
    ("impala-fc", "torch"),
    ("impala-marl", "tf"),
    ("appo-marl", "torch"),
]
FRAMEWORKS = ("torch", "tf")
SEEDS = range(5)
by_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@pytest.mark.parametrize(("name", "framework"), FAST)
def test_greedy_episodes_reach_the_threshold_before_the_cap(name: str, framework: str) -> None:
    outcome = run_cell(CELLS[name], framework, seed=0)
    print(f"\n{name} {framework}: {outcome}")

    assert outcome.reached


@pytest.mark.long
@by_framework
@pytest.mark.parametrize("name", CELLS)
def test_at_least_four_seeds_of_five_reach_the_threshold(name: str, framework: str) -> None:
    outcomes = [run_cell(CELLS[name], framework, seed) for seed in SEEDS]
    for seed, outcome in enumerate(outcomes):
        print(f"\n{name} {framework} seed {seed}: {outcome}", end="")

    assert sum(outcome.reached for outcome in outcomes) >= 4


@by_framework
@pytest.mark.parametrize("cell", PPO_CELLS, ids=lambda cell: cell.name)
def test_what_learns_sees_the_log_probs_of_what_acted(cell: Cell, framework: str) -> None:
    """Ratio one. A wrong state or a shifted column is seen here, and hardly in the return."""
    with build(replace(cell, config=lambda: one_epoch(cell)), framework, seed=0) as algorithm:
        assert isinstance(algorithm, PPO)
        for _ in range(2):  # fresh weights, and weights that have moved
            for module_id, fragments in algorithm.pool.sample(640).items():
                module = algorithm.get_module(module_id)
                for fragment in fragments:
                    seen = evaluate_fragment(fragment, module, algorithm.framework.bridge).logp

                    assert np.abs(seen - fragment.action_logp)[fragment.mask].max() < 1e-4
            algorithm.train()


def one_epoch(cell: Cell) -> PPOConfig:
    """The settings of a cell, with the least learning that moves the weights."""
    config = cell.config()
    assert isinstance(config, PPOConfig)
    return config.training(num_epochs=1)


@by_framework
@pytest.mark.parametrize("cell", [*IMPALA_CELLS, APPO_CELLS[2]], ids=lambda cell: cell.name)
def test_weights_that_are_not_behind_act_as_those_that_learn_would(cell: Cell, framework: str) -> None:
    """At lag 0 every ratio is one: with fresh weights, and with those of the first broadcast after."""
    seen = 0
    with build(cell, framework, seed=0) as algorithm:
        for _ in range(4):
            for learned in algorithm.train()["learners"].values():
                if learned["lag_max"] == 0.0:
                    seen += 1
                    assert learned["mean_rho"] == pytest.approx(1.0, abs=1e-5)
                    assert abs(learned["mean_kl"]) < 1e-6
                    assert learned["clip_fraction"] == 0.0 or cell.algorithm == "appo"  # of its surrogate
        assert seen >= len(algorithm.modules)
