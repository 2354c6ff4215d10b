"""PPO as a whole: what must hold whatever is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlmodule_algos import PPOConfig
from rlmodule_algos.batching import evaluate_fragment
from rlmodule_algos.ppo import PPOTorchRLModule
from rlmodule_algos.ppo.config import PPOTrainingSettings
from rlmodule_core import RLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_torch import TorchCategorical, TorchRLModule
from rlmodule_torch.updater import StepResult

SMALL: dict[str, Any] = {
    "train_batch_size": 256,
    "minibatch_size": 64,
    "num_epochs": 2,
    "model": {"fcnet_hiddens": [16]},
}


def config(env: str = "CartPole-v1", seed: int = 0, **training: Any) -> PPOConfig:
    return PPOConfig().environment(env).training(**{**SMALL, **training}).debugging(seed=seed)


class NativeDistributionModule(TorchRLModule):
    """As a user writes it: its own layers, a torch.distributions object, no NumPy form."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        assert config.observation_space is not None
        assert config.observation_space.shape is not None
        inputs = config.observation_space.shape[0]
        self.net = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 3))

    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        out = self.net(batch["obs"])
        return {
            "action_dist": torch.distributions.Categorical(logits=out[..., :2]),
            "vf_preds": out[..., 2],
        }

    def _forward_exploration(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_train(batch)


# --- ratio one --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "free_log_std"), [("CartPole-v1", False), ("Pendulum-v1", False), ("Pendulum-v1", True)]
)
def test_before_the_first_update_recomputed_log_probs_equal_those_of_acting(
    env: str, free_log_std: bool
) -> None:
    with config(env, model={"fcnet_hiddens": [16], "free_log_std": free_log_std}).build() as algorithm:
        for _ in range(2):  # fresh weights, and weights that have moved
            (fragment,) = algorithm.pool.sample(256)["default_policy"]
            module, bridge = algorithm.get_module(), algorithm.framework.bridge
            recomputed = evaluate_fragment(fragment, module, bridge).logp

            gap = np.abs(recomputed - fragment.action_logp)[fragment.mask]
            assert gap.max() < 1e-4
            algorithm.train()


def test_squashed_actions_are_learned_from_as_the_environment_gets_them() -> None:
    with config("Pendulum-v1", model={"fcnet_hiddens": [16], "squash_actions": True}).build() as algorithm:
        (fragment,) = algorithm.pool.sample(256)["default_policy"]
        module, bridge = algorithm.get_module(), algorithm.framework.bridge
        recomputed = evaluate_fragment(fragment, module, bridge).logp

        assert np.abs(fragment.actions).max() > 1.5  # of 2.0
        np.testing.assert_array_equal(fragment.actions, np.clip(fragment.actions, -2.0, 2.0))
        assert np.abs(recomputed - fragment.action_logp)[fragment.mask].max() < 1e-4


class SharperModule(PPOTorchRLModule):
    """Replaces what makes its distributions on the module itself, not in a method."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.make_distribution = lambda inputs: TorchCategorical(10.0 * inputs + torch.tensor([0.0, 9.0]))


def test_ratio_one_holds_for_a_module_that_replaces_its_distributions() -> None:
    spec = SingleAgentRLModuleSpec(module_class=SharperModule)
    with config().rl_module(rl_module_spec=spec).build() as algorithm:
        (fragment,) = algorithm.pool.sample(256)["default_policy"]
        recomputed = evaluate_fragment(fragment, algorithm.get_module(), algorithm.framework.bridge).logp

        assert np.abs(recomputed - fragment.action_logp)[fragment.mask].max() < 1e-4


def test_ratio_one_holds_for_a_module_with_a_native_distribution() -> None:
    spec = SingleAgentRLModuleSpec(module_class=NativeDistributionModule)
    with config().rl_module(rl_module_spec=spec).build() as algorithm:
        (fragment,) = algorithm.pool.sample(256)["default_policy"]
        recomputed = evaluate_fragment(fragment, algorithm.get_module(), algorithm.framework.bridge).logp

        assert np.abs(recomputed - fragment.action_logp)[fragment.mask].max() < 1e-4
        assert math.isfinite(algorithm.train()["learners"]["default_policy"]["total_loss"])


def test_the_first_minibatch_of_one_whole_epoch_has_no_clip_fraction_and_no_kl() -> None:
    with config(train_batch_size=256, minibatch_size=256, num_epochs=1).build() as algorithm:
        learned = algorithm.train()["learners"]["default_policy"]

    assert learned["clip_fraction"] == 0.0
    assert abs(learned["mean_kl"]) < 1e-6


# --- every hyperparameter is live -------------------------------------------------------------


LSTM: dict[str, Any] = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8}
NORMALIZED: dict[str, Any] = {"fcnet_hiddens": [16], "normalize_observations": True}
CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"lr": 1e-2}),
    ({}, {"lr": [[0, 1e-2], [1000, 1e-5]]}),
    ({}, {"gamma": 0.5}),
    ({}, {"lambda_": 0.5}),
    ({}, {"minibatch_size": 32}),
    ({}, {"num_epochs": 3}),
    ({}, {"train_batch_size": 512}),
    ({}, {"clip_param": 0.001}),
    ({}, {"vf_loss_coeff": 0.1}),
    ({}, {"vf_clip_mode": "error", "vf_clip_param": 0.1}),
    ({}, {"vf_clip_mode": "value", "vf_clip_param": 0.01}),
    ({"vf_clip_mode": "value", "vf_clip_param": 0.01}, {"vf_clip_param": 0.1}),
    ({}, {"entropy_coeff": 0.1}),
    ({}, {"entropy_coeff": [[0, 0.1], [1000, 0.0]]}),
    ({}, {"use_kl_loss": True}),
    ({"use_kl_loss": True}, {"kl_coeff": 5.0}),
    ({"use_kl_loss": True}, {"kl_target": 1e-6}),
    ({}, {"grad_clip": None}),
    ({}, {"grad_clip": 0.01}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "value"}),
    ({"grad_clip": 0.01}, {"grad_clip_by": "norm"}),
    ({}, {"adam_epsilon": 1e-2}),
    ({}, {"standardize_advantages": False}),
    ({}, {"model": {"fcnet_hiddens": [16], "fcnet_activation": "relu"}}),
    ({}, {"model": {"fcnet_hiddens": [16], "post_fcnet_hiddens": [8]}}),
    ({}, {"model": {"fcnet_hiddens": [16], "vf_share_layers": True}}),
    ({}, {"kl_stop": 1e-6}),
    ({}, {"model": LSTM}),
    ({"model": LSTM}, {"model": {**LSTM, "max_seq_len": 5}}),
    ({"model": LSTM}, {"model": {**LSTM, "burn_in": 2}}),
    ({}, {"model": NORMALIZED}),
    ({"model": NORMALIZED}, {"model": {**NORMALIZED, "observation_clip": 0.5}}),
]


@pytest.mark.parametrize(("base", "changed"), CHANGES)
def test_changing_a_hyperparameter_changes_what_is_learned(
    base: dict[str, Any], changed: dict[str, Any]
) -> None:
    def learned(**training: Any) -> list[dict[str, float]]:
        with config(**training).build() as algorithm:
            return [algorithm.train()["learners"]["default_policy"] for _ in range(3)]

    assert learned(**base) != learned(**{**base, **changed})


def test_every_setting_of_ppo_is_among_those_that_were_changed() -> None:
    assert {name for _, changed in CHANGES for name in changed} == set(PPOTrainingSettings.__annotations__)


def test_a_small_kl_stop_ends_the_update_of_a_module_after_its_first_minibatches() -> None:
    with config(lr=1e-2, kl_stop=1e-6).build() as algorithm, config(lr=1e-2).build() as other:
        stopped = algorithm.train()["learners"]["default_policy"]
        unstopped = other.train()["learners"]["default_policy"]

    assert stopped["num_updates"] == 2  # at the first one nothing has moved yet
    assert unstopped["num_updates"] == 2 * 256 // 64


def test_scheduled_settings_follow_the_env_steps_sampled() -> None:
    with config(lr=[[0, 1e-2], [512, 1e-3]], entropy_coeff=[[0, 0.1], [512, 0.0]]).build() as algorithm:
        learned = [algorithm.train()["learners"]["default_policy"] for _ in range(4)]

    for name, last in (("curr_lr", 1e-3), ("curr_entropy_coeff", 0.0)):
        values = [result[name] for result in learned]
        assert values[0] > values[1] >= values[2] == values[3] == last


def test_every_epoch_uses_every_step_once_in_an_order_of_its_own() -> None:
    seen: list[np.ndarray[Any, Any]] = []

    class Result(NamedTuple):
        total: torch.Tensor

    class Recording:
        def step(self, batch: Mapping[str, Any], coefficients: Mapping[str, float]) -> StepResult:
            seen.append(batch["row"].numpy().copy())
            return StepResult(Result(torch.zeros(())), torch.zeros(()), True)

    with config().build() as algorithm:
        algorithm.learner._updaters["default_policy"] = Recording()  # type: ignore[assignment]
        rows = {"row": np.arange(10)}
        algorithm.learner.update("default_policy", rows, num_epochs=2, minibatch_size=4, coefficients={})

    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert [len(part) for part in seen] == [3, 3, 4] * 2
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
    assert list(first) != list(range(10))


def test_updates_that_are_all_skipped_leave_the_keys_as_nan() -> None:
    with config().build() as algorithm:
        module = algorithm.get_module()
        assert isinstance(module, nn.Module)
        with torch.no_grad():
            for parameter in module.vf.parameters():  # type: ignore[union-attr]
                parameter.fill_(torch.nan)
        learned = algorithm.train()["learners"]["default_policy"]

    assert math.isnan(learned["total_loss"])
    assert learned["num_skipped_updates"] > 0


# --- results ----------------------------------------------------------------------------------


def test_results_have_the_same_keys_before_and_after_the_first_episode_ends() -> None:
    with config("Pendulum-v1", train_batch_size=80).build() as algorithm:  # 10 steps of 200 each
        early = algorithm.train()
        for _ in range(20):
            late = algorithm.train()

    assert math.isnan(early["env_runners"]["episode_return_mean"])
    assert not math.isnan(late["env_runners"]["episode_return_mean"])
    assert early["env_runners"].keys() == late["env_runners"].keys()
    assert early["learners"]["default_policy"].keys() == late["learners"]["default_policy"].keys()
    assert late["env_runners"]["num_env_steps_sampled_lifetime"] == 21 * 80
    assert late["training_iteration"] == 21


def test_evaluation_at_an_interval_is_part_of_the_result() -> None:
    evaluating = config().evaluation(evaluation_interval=2, evaluation_duration=3)
    with evaluating.build() as algorithm:
        results = [algorithm.train() for _ in range(2)]

    assert "evaluation" not in results[0]
    assert results[1]["evaluation"]["num_episodes"] == 3


def test_a_single_action_is_what_the_environment_takes() -> None:
    with config("Pendulum-v1").build() as algorithm:
        action = algorithm.compute_single_action(np.zeros(3, np.float32))
        again = algorithm.compute_single_action(np.zeros(3, np.float32))

    assert action.shape == (1,)
    assert spaces.Box(-2.0, 2.0, (1,)).contains(action)
    np.testing.assert_array_equal(action, again)


def test_training_after_stop_is_refused_with_what_to_do() -> None:
    with config().build() as algorithm:
        pass

    with pytest.raises(RuntimeError, match="was stopped; build another"):
        algorithm.train()


def test_stop_may_be_called_twice_and_leaving_the_block_stops() -> None:
    with config().build() as algorithm:
        algorithm.stop()
    algorithm.stop()
