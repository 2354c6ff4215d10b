"""CartPole of the learning matrix, with two env runners on Ray that go on while the learner learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cells import CELLS, run_cell

from rlmodule_algos.actor_learner import ActorLearnerConfig
from rlmodule_algos.config import AlgorithmConfig

pytestmark = pytest.mark.long
RUNNERS = 2


@pytest.mark.parametrize("framework", ["torch", "tf"])
@pytest.mark.parametrize("name", ["ppo-fc", "impala-fc", "appo-fc"])
def test_cartpole_is_learned_on_two_runners(name: str, framework: str) -> None:
    pytest.importorskip("ray")
    cell = CELLS[name]

    def config() -> AlgorithmConfig:
        made = cell.config().env_runners(num_env_runners=RUNNERS)
        if isinstance(made, ActorLearnerConfig):  # the matrix has a lag of 2, and runners lag by themselves
            made.training(broadcast_interval=1).env_runners(max_requests_in_flight_per_env_runner=1)
        return made

    outcome = run_cell(replace(cell, config=config), framework, seed=0)
    print(f"\n{name} {framework} on {RUNNERS} runners: {outcome}")

    assert outcome.reached
