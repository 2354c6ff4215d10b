"""The torch modules that ship keep the whole contract, with gradients, modes and every action."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.distributions as td
from gymnasium import spaces
from torch import nn

from rlmodule_core import RLModuleConfig, distribution_config
from rlmodule_torch import TorchCategorical, TorchDiagGaussian, TorchMultiCategorical, TorchRLModule
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


class Policy(TorchRLModule):
    """Acts with any distribution, of so many inputs."""

    def __init__(self, config: RLModuleConfig, inputs: int, make: Any) -> None:
        super().__init__(config)
        self.layer, self.make = nn.Linear(4, inputs), make

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        return {"action_dist": self.make(self.layer(batch["obs"]))}

    _forward_inference = _forward_exploration


def require_actions(space: spaces.Space[Any], inputs: int, make: Any) -> None:
    class Suite(TorchRLModuleConformance):
        def make_module(self) -> TorchRLModule:
            return Policy(replace(CONFIG, action_space=space), inputs, make)

    Suite().test_acting_gives_an_action_distribution()


class Shifted(td.Categorical):
    """Torch's own starts at 0; this one at 2."""

    def sample(self, *shape: Any) -> Any:
        return super().sample(*shape) + 2  # type: ignore[no-untyped-call]

    def log_prob(self, value: Any) -> Any:
        return super().log_prob(value - 2)  # type: ignore[no-untyped-call]

    @property
    def mode(self) -> torch.Tensor:
        return super().mode + 2


def bits(logits: torch.Tensor) -> td.Distribution:
    return td.Independent(td.Bernoulli(logits=logits), 1)


def gaussian(means: torch.Tensor) -> td.Distribution:
    return td.Independent(td.Normal(means, 1.0), 1)


def classes(logits: torch.Tensor) -> td.Distribution:
    """Two components of three classes each."""
    return td.Independent(td.Categorical(logits=logits.unflatten(-1, (2, 3))), 1)


def padded(logits: torch.Tensor) -> td.Distribution:
    """The same, of which the first has two classes."""
    beyond = torch.tensor([False, False, True, False, False, False])
    return classes(logits.masked_fill(beyond, -torch.inf))


PAIR = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(3)})
PLANE = spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("space", "inputs", "make"),
    [
        (spaces.Discrete(3, start=2), 3, lambda logits: TorchCategorical(logits, start=2)),
        (spaces.Discrete(3, start=2), 3, lambda logits: Shifted(logits=logits)),
        (spaces.Discrete(3), 3, lambda logits: td.Categorical(logits=logits)),
        (spaces.Discrete(3), 3, lambda logits: td.Categorical(probs=logits.softmax(-1))),
        (spaces.MultiDiscrete([3, 3]), 6, classes),
        (spaces.MultiDiscrete([2, 3]), 6, padded),
        (spaces.MultiBinary(3), 3, bits),
        (PLANE, 2, gaussian),
        (PAIR, 5, distribution_config(PAIR).build("torch")),
    ],
)
def test_distributions_over_the_action_space_are_accepted_ours_and_native(
    space: Any, inputs: int, make: Any
) -> None:
    require_actions(space, inputs, make)


@pytest.mark.parametrize(
    ("space", "inputs", "make", "words"),
    [
        (spaces.Discrete(3), 4, TorchCategorical, "logits of 3 classes from 0, .* got logits of 4 from 0"),
        (spaces.Discrete(3), 2, TorchCategorical, "logits of 3 classes from 0, .* got logits of 2 from 0"),
        (PLANE, 6, TorchDiagGaussian, r"expected floats \[20, 2\], .* got float32 \[20, 3\] for draw 0"),
        (PLANE, 6, TorchCategorical, r"expected floats \[20, 2\], .* got int64 \[20\] for draw 0"),
        (PAIR, 6, TorchCategorical, r"value: expected a mapping with the keys \['a', 'b'\], got ndarray"),
        (
            spaces.MultiDiscrete([2, 3]),
            5,
            lambda logits: TorchMultiCategorical(logits, sizes=(3, 2)),
            r"expected logits of \[2, 3\] classes .* got logits of \[3, 2\]",
        ),
        (
            spaces.Discrete(3),
            4,
            lambda logits: td.Categorical(logits=logits),
            r"action: expected probabilities of 3 classes, as Discrete\(3\) has them, got 4",
        ),
        (
            spaces.Discrete(3),
            2,
            lambda logits: td.Categorical(logits=logits),
            "expected probabilities of 3 classes, .* got 2",
        ),
        (
            spaces.Discrete(3, start=2),
            3,
            lambda logits: td.Categorical(logits=logits),
            r"expected actions of Discrete\(3, start=2\), got [01] for draw 0",
        ),
        (
            spaces.MultiDiscrete([2, 3]),
            6,
            classes,
            r"expected probabilities of \[2, 3\] classes, .* got \[3, 3\]",
        ),
        (
            spaces.MultiDiscrete([2, 4]),
            6,
            padded,
            r"expected probabilities of \[2, 4\] classes, .* got \[2, 3\]",
        ),
        (spaces.MultiBinary(3), 4, bits, r"expected bits \[20, 3\], .* got float32 \[20, 4\]"),
        (PLANE, 3, gaussian, r"expected floats \[20, 2\], .* got float32 \[20, 3\]"),
    ],
)
def test_distributions_over_other_values_are_told_ours_and_native(
    space: Any, inputs: int, make: Any, words: str
) -> None:
    with pytest.raises(AssertionError, match=f"exploration: action_dist is not over[^$]*{words}"):
        require_actions(space, inputs, make)


def test_actions_of_the_bc_module_start_where_the_space_does() -> None:
    actions = (
        DiscreteBCTorchModule(CONFIG)
        .forward_exploration({"obs": torch.zeros(500, 4)})["action_dist"]
        .sample()
    )
    assert set(actions.tolist()) == {2, 3, 4}
