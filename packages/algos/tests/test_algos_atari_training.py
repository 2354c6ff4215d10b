"""PPO on the pixels of Pong trains as it comes. That it learns would take hours, and is not asked here."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

import pytest

from rlmodule_algos import PPOConfig

pytestmark = pytest.mark.skipif(find_spec("ale_py") is None, reason="ale-py is not installed")
NO_TF = pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
SMALL: dict[str, Any] = {"conv_filters": [[8, 8, 8], [16, 4, 2]], "encoder_latent_dim": 32}


@pytest.mark.parametrize("framework", ["torch", pytest.param("tf", marks=NO_TF)])
def test_two_iterations_of_pong_with_stacked_frames_give_finite_losses(framework: str) -> None:
    config = (
        PPOConfig()
        .environment("ALE/Pong-v5")
        .framework(framework)
        .env_runners(num_envs_per_env_runner=2)
        .training(train_batch_size=64, minibatch_size=32, num_epochs=1, model=SMALL)
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        results = [algorithm.train() for _ in range(2)]

    for result in results:
        learned = result["learners"]["default_policy"]
        assert math.isfinite(learned["total_loss"])
        assert learned["num_updates"] == 2
        assert learned["entropy"] == pytest.approx(math.log(6), abs=0.05)  # six buttons, hardly a preference
    assert results[1]["env_runners"]["num_env_steps_sampled_lifetime"] == 128
