"""Four ways to say what a TensorFlow module takes and gives, and what each says to data that is wrong."""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_tf import TfCategorical, mask_logits

# isort: split

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import NestedDict, RLModuleConfig
from rlmodule_specs import SpecError, SpecType, TfTensorSpec
from rlmodule_tf.bc_module import DiscreteBCTfModule


class SingleKeys(DiscreteBCTfModule):
    """A list of names: these must be there."""

    def input_specs_exploration(self) -> SpecType:
        """A batch has `obs`."""
        return ["obs"]

    def output_specs_exploration(self) -> SpecType:
        """The output has `action_dist`."""
        return ["action_dist"]


class NestedKeys(DiscreteBCTfModule):
    """A tuple among the names: a path into what is nested."""

    def input_specs_exploration(self) -> SpecType:
        """`obs` has `global` and `local`; beside it is `action_mask`."""
        return [("obs", "global"), ("obs", "local"), "action_mask"]

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        obs = batch["obs"]
        logits = self.policy(tf.concat([obs["global"], obs["local"]], axis=-1))
        return {"action_dist": TfCategorical(mask_logits(logits, batch["action_mask"]))}


class TensorShapes(DiscreteBCTfModule):
    """A shape: `b` is any number of rows, `h` is fixed."""

    def input_specs_exploration(self) -> SpecType:
        """`obs` is a tensor `[b, 10]`."""
        return {"obs": TfTensorSpec("b, h", h=10)}


class Types(DiscreteBCTfModule):
    """A class: here the forward forgets to turn its logits into what the spec promises."""

    def output_specs_exploration(self) -> SpecType:
        """`action_dist` is a Categorical."""
        return {"action_dist": TfCategorical}

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
    obs = tf.zeros([32, 10])

    named = SingleKeys(config)
    named.forward_exploration({"obs": obs})
    print(refusal(lambda: named.forward_exploration({"observation": obs})))

    nested = NestedKeys(config)
    parts = {"global": obs[:, :6], "local": obs[:, 6:]}
    nested.forward_exploration({"obs": parts, "action_mask": tf.ones([32, 2], tf.bool)})
    print(refusal(lambda: nested.forward_exploration({"obs": {"global": obs}})))

    shaped = TensorShapes(config)
    shaped.forward_exploration({"obs": obs})
    print(refusal(lambda: shaped.forward_exploration({"obs": tf.zeros([32, 4])})))

    typed = Types(config)
    print(refusal(lambda: typed.forward_exploration({"obs": obs})))


if __name__ == "__main__":
    main()
