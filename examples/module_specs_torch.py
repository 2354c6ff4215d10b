"""Four ways to say what a PyTorch module takes and gives, and what each says to data that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from gymnasium import spaces

from rlmodule_core import NestedDict, RLModuleConfig
from rlmodule_specs import SpecError, SpecType, TorchTensorSpec
from rlmodule_torch import mask_logits
from rlmodule_torch.bc_module import DiscreteBCTorchModule


class SingleKeys(DiscreteBCTorchModule):
    """A list of names: these must be there."""

    def input_specs_exploration(self) -> SpecType:
        """A batch has `obs`."""
        return ["obs"]

    def output_specs_exploration(self) -> SpecType:
        """The output has `action_dist`."""
        return ["action_dist"]


class NestedKeys(DiscreteBCTorchModule):
    """A tuple among the names: a path into what is nested."""

    def input_specs_exploration(self) -> SpecType:
        """`obs` has `global` and `local`; beside it is `action_mask`."""
        return [("obs", "global"), ("obs", "local"), "action_mask"]

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        obs = batch["obs"]
        logits = self.policy(torch.cat([obs["global"], obs["local"]], dim=-1))
        allowed = mask_logits(logits, batch["action_mask"])
        return {"action_dist": torch.distributions.Categorical(logits=allowed)}


class TensorShapes(DiscreteBCTorchModule):
    """A shape: `b` is any number of rows, `h` is fixed."""

    def input_specs_exploration(self) -> SpecType:
        """`obs` is a tensor `[b, 10]`."""
        return {"obs": TorchTensorSpec("b, h", h=10)}


class Types(DiscreteBCTorchModule):
    """A class: here the forward forgets to turn its logits into what the spec promises."""

    def output_specs_exploration(self) -> SpecType:
        """`action_dist` is a Categorical."""
        return {"action_dist": torch.distributions.Categorical}

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return {"action_dist": self.policy(batch["obs"])}


def refusal(call: Callable[[], object]) -> str:
    """Return the message with which a call is refused."""
    try:
        call()
    except SpecError as error:
        return str(error)
    raise AssertionError("it was accepted")


def main() -> None:
    """Give each module a batch that is right and one that is not."""
    config = RLModuleConfig(
        observation_space=spaces.Box(-1.0, 1.0, (10,)),
        action_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": [32]},
    )
    obs = torch.zeros(32, 10)

    named = SingleKeys(config)
    named.forward_exploration({"obs": obs})
    print(refusal(lambda: named.forward_exploration({"observation": obs})))

    nested = NestedKeys(config)
    parts = {"global": obs[:, :6], "local": obs[:, 6:]}
    nested.forward_exploration({"obs": parts, "action_mask": torch.ones(32, 2, dtype=torch.bool)})
    print(refusal(lambda: nested.forward_exploration({"obs": {"global": obs}})))

    shaped = TensorShapes(config)
    shaped.forward_exploration({"obs": obs})
    print(refusal(lambda: shaped.forward_exploration({"obs": torch.zeros(32, 4)})))

    typed = Types(config)
    print(refusal(lambda: typed.forward_exploration({"obs": obs})))


if __name__ == "__main__":
    main()
