"""What acting may return: a distribution, ours or PyTorch's own, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlmodule_core import NumpyCategorical, RLModuleConfig
from rlmodule_specs import SpecError
from rlmodule_torch import TorchCategorical, TorchRLModule

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
        "  action_dist:  expected rlmodule_core.distribution.Distribution or "
        "torch.distributions.distribution.Distribution, got torch float32 [4, 2]"
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
