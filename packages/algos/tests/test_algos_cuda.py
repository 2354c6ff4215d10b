"""Learning on a GPU: what acts and what learns is there, and the numbers are those of the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rlmodule_algos import BCConfig, PPOConfig
from rlmodule_algos.batching import evaluate_fragment
from rlmodule_algos.testing import Catch, CrossedAgents, GatedLeaves, RepeatPrevious, episodes

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NEEDS A GPU: no algorithm ran on CUDA here"
)

NETWORKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "fc": ("CartPole-v1", {"fcnet_hiddens": [32]}),
    "fc, normalised": ("CartPole-v1", {"fcnet_hiddens": [32], "normalize_observations": True}),
    "cnn": (Catch, {"conv_filters": [[16, 3, 1], [32, 3, 2]], "encoder_latent_dim": 32}),
    "lstm": (RepeatPrevious, {"fcnet_hiddens": [32], "use_lstm": True, "lstm_cell_size": 32}),
    "gru, shared": (
        RepeatPrevious,
        {"fcnet_hiddens": [32], "use_gru": True, "lstm_cell_size": 32, "vf_share_layers": True},
    ),
    "complex": (GatedLeaves, {"fcnet_hiddens": [32]}),
}


def ppo(env: Any, model: dict[str, Any], device: str) -> PPOConfig:
    settings: dict[str, Any] = {"train_batch_size": 512, "minibatch_size": 128, "num_epochs": 2}
    config = PPOConfig().environment(env).training(model=model, **settings)
    return config.learners(device=device).debugging(seed=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_ppo_learns_on_the_gpu_and_its_ratio_is_one(name: str) -> None:
    with ppo(*NETWORKS[name], device="cuda").build() as algorithm:
        results = [algorithm.train()["learners"]["default_policy"] for _ in range(2)]
        module = algorithm.get_module()
        (fragment,) = algorithm.pool.sample(512)["default_policy"]
        recomputed = evaluate_fragment(fragment, module, algorithm.framework.bridge).logp

        assert str(module.device).startswith("cuda")
        assert all(np.isfinite(result["total_loss"]) for result in results)
        assert np.abs(recomputed - fragment.action_logp)[fragment.mask].max() < 1e-4
        assert np.isfinite(algorithm.evaluate(4)["evaluation"]["episode_return_mean"])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_of_the_gpu_acts_the_same_on_the_cpu(name: str) -> None:
    with (
        ppo(*NETWORKS[name], device="cuda").build() as there,
        ppo(*NETWORKS[name], device="cpu").build() as here,
    ):
        there.train()
        here.get_module().set_state(there.get_module().get_state())
        (fragment,) = here.pool.sample(512)["default_policy"]
        logp = [
            evaluate_fragment(fragment, algorithm.get_module(), algorithm.framework.bridge).logp
            for algorithm in (here, there)
        ]

    np.testing.assert_allclose(logp[1][fragment.mask], logp[0][fragment.mask], atol=1e-4)


def test_agents_with_modules_of_their_own_learn_on_the_gpu() -> None:
    config = ppo(CrossedAgents, {"fcnet_hiddens": [16]}, device="cuda")
    with config.multi_agent(policy_mapping_fn=lambda agent: agent).build() as algorithm:
        learned = algorithm.train()["learners"]

    assert set(learned) == {"a0", "a1", "a2"}


def test_cloning_learns_on_the_gpu() -> None:
    task = RepeatPrevious({"num_envs": 16})
    data = episodes(task, task.expert(), 32, seed=0)
    config = BCConfig().environment(RepeatPrevious).offline_data(input_=data).learners(device="cuda")
    config = config.training(model=NETWORKS["lstm"][1], train_batch_size=256, minibatch_size=64)
    with config.debugging(seed=0).build() as algorithm:
        losses = [algorithm.train()["learners"]["default_policy"]["total_loss"] for _ in range(8)]

    assert losses[-1] < losses[0]
