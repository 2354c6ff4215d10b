"""What acting may return: a distribution, ours or PyTorch's own, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlmodule_core import Distribution, NumpyCategorical, NumpyRLModule, RLModuleConfig, numpy_bridge
from rlmodule_specs import SpecError
from rlmodule_torch import TorchCategorical, TorchRLModule
from rlmodule_torch.distributions import as_distribution

BATCH = {"obs": torch.ones(4, 3)}
KINDS = {
    "ours": TorchCategorical,
    "torch's own": lambda logits: torch.distributions.Categorical(logits=logits),
}


class Returning(TorchRLModule):
    """Gives what `kind` makes of the logits."""

    def __init__(self, kind: Any) -> None:
        super().__init__(
            RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))
        )
        self.layer, self.kind = torch.nn.Linear(3, 2), kind

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": self.kind(self.layer(batch["obs"]))}

    _forward_inference = _forward_exploration


@pytest.mark.parametrize("phase", ["exploration", "inference"])
def test_a_raw_tensor_as_action_dist_is_refused_at_once_with_what_to_return(phase: str) -> None:
    module = Returning(lambda logits: logits)

    with pytest.raises(SpecError) as caught:
        getattr(module, f"forward_{phase}")(BATCH)

    assert str(caught.value) == (
        f"Returning.forward_{phase}: the output breaks output_specs_{phase}() in 1 place\n"
        "  action_dist:  expected a distribution, such as TorchCategorical(logits) or one of "
        "torch.distributions, got torch float32 [4, 2]"
    )


@pytest.mark.parametrize("phase", ["exploration", "inference"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_both_kinds_of_distribution_pass_eagerly(kind: Any, phase: str) -> None:
    module = Returning(kind)
    assert getattr(module, f"forward_{phase}")(BATCH)["action_dist"].sample().shape == (4,)


def test_both_kinds_of_distribution_pass_in_one_compiled_graph() -> None:
    for kind, read in ((TorchCategorical, "inputs"), (KINDS["torch's own"], "logits")):
        module = Returning(kind)

        def act(obs: torch.Tensor) -> Any:
            return getattr(module.forward_inference({"obs": obs})["action_dist"], read)  # noqa: B023

        torch.compiler.reset()
        compiled = torch.compile(act, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(BATCH["obs"]), act(BATCH["obs"]))


def test_a_distribution_of_another_framework_is_refused_by_name_with_what_to_return() -> None:
    other = NumpyCategorical(np.zeros((4, 2), np.float32))

    for phase in ("exploration", "inference"):
        with pytest.raises(SpecError, match=r"a distribution, such as TorchC.*, got .*\.NumpyCategorical"):
            getattr(Returning(lambda logits: other), f"forward_{phase}")(BATCH)
    with pytest.raises(TypeError, match=r"a distribution, such as TorchC.*, got .*\.NumpyCategorical"):
        as_distribution(other)


def test_a_module_of_numpy_that_returns_a_distribution_of_ours_is_refused_as_its_framework_is_another() -> (
    None
):
    ours = TorchCategorical(torch.zeros(4, 2))

    class InNumpy(NumpyRLModule):
        def _forward_exploration(self, batch: Any) -> Any:
            return {"action_dist": ours}

        _forward_inference = _forward_exploration

        def get_state(self) -> dict[str, Any]:
            return {}

        def set_state(self, state: Any) -> None:
            pass

    for phase in ("exploration", "inference"):
        with pytest.raises(
            SpecError, match=r"a distribution over NumPy arrays, .*, got .*\.TorchCategorical"
        ):
            getattr(InNumpy(RLModuleConfig()), f"forward_{phase}")({"obs": np.ones((4, 3))})
    with pytest.raises(TypeError, match=r"a distribution over NumPy arrays, .*, got .*\.TorchCategorical"):
        numpy_bridge.as_distribution(ours)


@pytest.mark.parametrize("said", [None, "torch"])
def test_a_distribution_of_ones_own_passes_that_says_of_no_other_framework(said: str | None) -> None:
    class Own(Distribution[Any]):
        """Derived from the neutral contract alone."""

        framework = said

        def __init__(self, logits: Any) -> None:
            self.ours = TorchCategorical(logits)
            self.inputs = logits

        @classmethod
        def from_inputs(cls, inputs: Any, space: Any = None) -> Own:
            return cls(inputs)

        def sample(self) -> Any:
            return self.ours.sample()

        def rsample(self) -> Any:
            return self.ours.rsample()

        def logp(self, value: Any) -> Any:
            return self.ours.logp(value)

        def entropy(self) -> Any:
            return self.ours.entropy()

        def kl(self, other: Own) -> Any:
            return self.ours.kl(other.ours)

        def to_deterministic(self) -> Distribution[Any]:
            return self.ours.to_deterministic()

    found = Returning(Own).forward_inference(BATCH)["action_dist"]

    assert isinstance(found, Own)
    assert as_distribution(found) is found


@pytest.mark.parametrize(
    ("kind", "logits"),
    [(TorchCategorical, torch.zeros(2, 3)), (NumpyCategorical, np.zeros((2, 3), np.float32))],
)
def test_a_categorical_takes_its_logits_by_their_own_name_too_but_once(kind: Any, logits: Any) -> None:
    assert kind(logits=logits, start=1).inputs is logits
    assert kind(inputs=logits).inputs is kind(logits).inputs is logits
    with pytest.raises(TypeError, match="expected the logits once"):
        kind(logits, logits=logits)
    with pytest.raises(TypeError, match="expected the logits once"):
        kind()
