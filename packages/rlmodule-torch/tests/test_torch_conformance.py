"""The torch modules that ship keep the whole contract, with gradients, modes and every action."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import nn

from rlmodule_core import RLModuleConfig
from rlmodule_torch import TorchCategorical, TorchRLModule
from rlmodule_torch.bc_module import DiscreteBCTorchModule
from rlmodule_torch.testing import TorchRLModuleConformance

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1, 1, (4,)),
    action_space=spaces.Discrete(3, start=2),
    model_config_dict={"fcnet_hiddens": [16]},
)


class Native(DiscreteBCTorchModule):
    """Its distribution is torch's own."""

    def _forward_train(self, batch: Any) -> dict[str, Any]:
        return {"action_dist": torch.distributions.Categorical(logits=self.policy(batch["obs"]))}


class Recurrent(TorchRLModule):
    """A GRU cell, one step at a time: from zeros where an episode starts, and not over padding."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.cell = nn.GRUCell(4, 5)
        self.head = nn.Linear(5, 3)

    def get_initial_state(self) -> dict[str, Any]:
        return {"h": torch.zeros(5).numpy()}

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        obs, h, steps = batch["obs"], batch["state_in"]["h"], []
        real = batch.get("mask", torch.ones(obs.shape[:2], dtype=torch.bool))
        first = batch.get("is_first", torch.zeros(obs.shape[:2], dtype=torch.bool))
        for t in range(obs.shape[1]):
            h = torch.where(first[:, t, None], torch.zeros_like(h), h)
            h = torch.where(real[:, t, None], self.cell(obs[:, t], h), h)
            steps.append(h)
        logits = self.head(torch.stack(steps, dim=1))
        return {"action_dist": TorchCategorical(logits, start=2), "state_out": {"h": h}}

    _forward_inference = _forward_exploration


class TestDiscreteBC(TorchRLModuleConformance):
    def make_module(self) -> TorchRLModule:
        return DiscreteBCTorchModule(CONFIG)


class TestNativeDistribution(TorchRLModuleConformance):
    def make_module(self) -> TorchRLModule:
        return Native(replace(CONFIG, action_space=spaces.Discrete(3)))  # torch's own starts at 0


class TestRecurrent(TorchRLModuleConformance):
    def make_module(self) -> TorchRLModule:
        return Recurrent(CONFIG)


class Leaky(DiscreteBCTorchModule):
    def _forward_inference(self, batch: Any) -> dict[str, Any]:
        with torch.enable_grad():
            return dict(self._forward_train(batch))


class Switching(DiscreteBCTorchModule):
    def _run_train(self, batch: Any, **kwargs: Any) -> Any:
        self.policy.eval()
        return self._forward_train(batch)


class Detached(DiscreteBCTorchModule):
    def _forward_train(self, batch: Any) -> dict[str, Any]:
        with torch.no_grad():
            return dict(super()._forward_train(batch))


class Normalizing(DiscreteBCTorchModule):
    """Sound: its statistics need more than one row in training."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.policy = nn.Sequential(nn.BatchNorm1d(4), self.policy)


class TestBatchNorm(TorchRLModuleConformance):
    def make_module(self) -> TorchRLModule:
        return Normalizing(CONFIG)


class Renaming(DiscreteBCTorchModule):
    def get_state(self) -> dict[str, Any]:
        return {"weights": super().get_state()}


class Seeding(DiscreteBCTorchModule):
    """Made the same each time by seeding the generator that everybody draws from."""

    def __init__(self, config: RLModuleConfig) -> None:
        torch.manual_seed(0)
        super().__init__(config)


class Reusing(DiscreteBCTorchModule):
    """Writes its logits into the same memory each time."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.logits = torch.zeros(4, 3)

    def _forward_inference(self, batch: Any) -> dict[str, Any]:
        logits = self.policy(batch["obs"])
        if len(logits) == 4:
            logits = self.logits.copy_(logits)
        return {"action_dist": self.make_distribution(logits)}


class Silent(DiscreteBCTorchModule):
    """Trains on logits without a gradient, and gives no distribution that would show it."""

    def _forward_train(self, batch: Any) -> dict[str, Any]:
        with torch.no_grad():
            return {"action_dist_inputs": self.policy(batch["obs"]), "rows": torch.arange(2)}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (Leaky, "test_acting_carries_no_gradient", "inference: logp carries a gradient"),
        (Detached, "test_training_carries_a_gradient", "carries no gradient in action_dist: does it run"),
        (
            Silent,
            "test_training_carries_a_gradient",
            "no gradient in action_dist_inputs: does it run",
        ),
        (Switching, "test_every_phase_leaves_the_modes_as_they_were", "train changed the modes"),
        (Seeding, "test_nobody_seeds_the_generators_of_all", "the constructor seeds torch: all others"),
        (
            Reusing,
            "test_what_a_forward_gave_stays_as_it_is_when_others_run",
            "inference: a later forward changed action_dist of an earlier one",
        ),
        (Renaming, "test_every_parameter_is_in_the_state_under_its_name", "is not in the state, which has"),
    ],
)
def test_the_suite_fails_in_words_for_a_module_that_breaks_a_promise_of_torch(
    cls: Any, test: str, words: str
) -> None:
    class Suite(TorchRLModuleConformance):
        def make_module(self) -> TorchRLModule:
            module: TorchRLModule = cls(CONFIG)
            return module

    with pytest.raises(AssertionError, match=words):
        getattr(Suite(), test)()


def test_actions_of_the_bc_module_start_where_the_space_does() -> None:
    actions = (
        DiscreteBCTorchModule(CONFIG)
        .forward_exploration({"obs": torch.zeros(500, 4)})["action_dist"]
        .sample()
    )
    assert set(actions.tolist()) == {2, 3, 4}
