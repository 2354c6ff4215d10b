"""A restore that fails leaves a run as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlmodule_algos import APPOConfig, ImpalaConfig
from rlmodule_algos.actor_learner import ActorLearnerConfig
from rlmodule_algos.config import AlgorithmConfig
from rlmodule_core import CheckpointError


def small(config: AlgorithmConfig, units: int = 8) -> Any:
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4, rollout_fragment_length=8)
        .training(train_batch_size=64, model={"fcnet_hiddens": [units]})
        .debugging(seed=0)
    )


@pytest.mark.parametrize("kind", [ImpalaConfig, APPOConfig])
def test_a_refused_restore_changes_nothing_of_what_comes_next(
    kind: type[ActorLearnerConfig], tmp_path: Path
) -> None:
    with small(kind(), units=16).build() as other:
        other.train()
        other.save(tmp_path)
    results = []
    for refused in (False, True):
        with small(kind()).build() as algorithm:
            for _ in range(9):
                algorithm.train()
            if refused:
                with pytest.raises(CheckpointError, match="does not fit this run"):
                    algorithm.restore(tmp_path)
            result = algorithm.train()
            results.append((result["learners"], result["env_runners"]))

    assert repr(results[0]) == repr(results[1])
