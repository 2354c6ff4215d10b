"""A newcomer's mistakes: each is one clear error that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlmodule_algos import ConfigError, PPOConfig
from rlmodule_core import RLModuleConfig, SingleAgentRLModuleSpec
from rlmodule_specs import SpecError
from rlmodule_torch import TorchRLModule

SMALL: dict[str, Any] = {
    "train_batch_size": 256,
    "minibatch_size": 64,
    "num_epochs": 2,
    "model": {"fcnet_hiddens": [16]},
}


def config(env: str = "CartPole-v1", seed: int = 0, **training: Any) -> PPOConfig:
    return PPOConfig().environment(env).training(**{**SMALL, **training}).debugging(seed=seed)


class PlainModule(TorchRLModule):
    """All that PPO needs, for CartPole."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.net = nn.Linear(4, 3)

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


class NoActionDistModule(PlainModule):
    def _forward_exploration(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"logits": self.net(batch["obs"])}


class NoValueModule(PlainModule):
    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"action_dist": torch.distributions.Categorical(logits=self.net(batch["obs"])[..., :2])}


def test_a_module_whose_output_lacks_action_dist_is_named_with_the_method_to_mend() -> None:
    spec = SingleAgentRLModuleSpec(module_class=NoActionDistModule)
    with config().rl_module(rl_module_spec=spec).build() as algorithm, pytest.raises(SpecError) as error:
        algorithm.train()

    assert str(error.value).startswith("NoActionDistModule.forward_exploration: the output breaks")
    assert "action_dist" in str(error.value)


def test_a_module_without_values_is_told_what_the_algorithm_needs() -> None:
    spec = SingleAgentRLModuleSpec(module_class=NoValueModule)
    with (
        config().rl_module(rl_module_spec=spec).build() as algorithm,
        pytest.raises(SpecError, match="vf_preds"),
    ):
        algorithm.train()


class ColumnOfValuesModule(PlainModule):
    def _forward_train(self, batch: Mapping[str, Any], **kwargs: Any) -> dict[str, Any]:
        output = super()._forward_train(batch)
        return {**output, "vf_preds": output["vf_preds"].unsqueeze(-1)}


def test_a_kl_penalty_with_a_native_distribution_is_refused_with_what_to_do() -> None:
    spec = SingleAgentRLModuleSpec(module_class=PlainModule)
    with (
        config(use_kl_loss=True).rl_module(rl_module_spec=spec).build() as algorithm,
        pytest.raises(ConfigError, match="use_kl_loss needs a distribution with flat parameters"),
    ):
        algorithm.train()


def test_values_of_shape_n_1_are_refused_with_the_shape_that_is_needed() -> None:
    spec = SingleAgentRLModuleSpec(module_class=ColumnOfValuesModule)
    with config().rl_module(rl_module_spec=spec).build() as algorithm, pytest.raises(SpecError) as error:
        algorithm.train()

    assert "ColumnOfValuesModule.forward_train" in str(error.value)
    assert "vf_preds:  expected torch [n], got torch [264, 1]" in str(error.value)


def test_an_observation_space_that_no_encoder_takes_is_refused_when_building() -> None:
    class Words(gym.Env[str, np.int64]):
        observation_space = spaces.Text(5)
        action_space = spaces.Discrete(2)

        def __init__(self, env_config: Mapping[str, Any]) -> None: ...

    with pytest.raises(ValueError, match=r"Text.* is not supported.*get_leaf_encoder_config"):
        PPOConfig().environment(Words).build()


def test_a_typo_in_the_model_settings_is_refused_when_building() -> None:
    with pytest.raises(ValueError, match="'fcnet_hidens', did you mean 'fcnet_hiddens'"):
        config(model={"fcnet_hidens": [8]}).build()


def test_a_module_of_another_framework_is_refused() -> None:
    class NumpyLike:
        framework = "numpy"

    spec = SingleAgentRLModuleSpec(module_class=NumpyLike)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"NumpyLike.*'numpy'.*'torch'"):
        config().rl_module(rl_module_spec=spec).build()


def test_a_minibatch_larger_than_the_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"minibatch_size \(64\) is larger than train_batch_size \(32\)"):
        config(train_batch_size=32).build()


@pytest.mark.parametrize("episodes", [0, -1, 2.5, "3", True])
def test_a_number_of_episodes_that_cannot_be_is_refused(episodes: Any) -> None:
    with (
        config().build() as algorithm,
        pytest.raises(ConfigError, match="expected an integer >= 1"),
    ):
        algorithm.evaluate(episodes)
