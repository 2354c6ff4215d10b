"""Several TensorFlow modules as one: each on its own, and with an encoder that they share."""

from __future__ import annotations

# First, as it has TensorFlow be quiet and repeatable, which is decided when that is imported.
from rlmodule_tf import TfCategorical, TfMultiAgentRLModule, TfRLModule

# isort: split

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import (
    MultiAgentRLModule,
    MultiAgentRLModuleConfig,
    MultiAgentRLModuleSpec,
    NestedDict,
    SingleAgentRLModuleSpec,
)
from rlmodule_tf.bc_module import DiscreteBCTfModule


class BCTfRLModuleWithSharedGlobalEncoder(TfRLModule):
    """`obs.global` goes through an encoder that others use too, `obs.local` straight to the head."""

    def __init__(self, encoder: tf.keras.Sequential, hidden_dim: int, action_dim: int) -> None:
        super().__init__(config=None)
        self.encoder = encoder
        self.policy_head = tf.keras.Sequential(
            [tf.keras.layers.Dense(hidden_dim, activation="relu"), tf.keras.layers.Dense(action_dim)]
        )

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        encoded = self.encoder(batch["obs"]["global"])
        logits = self.policy_head(tf.concat([encoded, batch["obs"]["local"]], axis=-1))
        return {"action_dist": TfCategorical(logits)}

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)


class BCTfMultiAgentModuleWithSharedEncoder(MultiAgentRLModule):
    """It is a `tf.Module` as soon as it holds modules of TensorFlow, and owns the encoder once."""

    def __init__(self, config: MultiAgentRLModuleConfig) -> None:
        super().__init__(config)

    def build(self) -> None:
        """Make one encoder for all, as wide as the first spec says."""
        configs = {key: spec.get_rl_module_config() for key, spec in self.config.modules.items()}
        hidden_dim = next(iter(configs.values())).model_config_dict["fcnet_hiddens"][0]
        encoder = tf.keras.Sequential(
            [tf.keras.layers.Dense(hidden_dim, activation="relu"), tf.keras.layers.Dense(hidden_dim)]
        )
        self._rl_modules = {
            key: BCTfRLModuleWithSharedGlobalEncoder(
                encoder=encoder, hidden_dim=hidden_dim, action_dim=config.action_space.n
            )
            for key, config in configs.items()
        }


def independent_spec() -> MultiAgentRLModuleSpec:
    """Two modules that have nothing in common."""

    def spec(obs_dim: int, hidden_dim: int) -> SingleAgentRLModuleSpec:
        return SingleAgentRLModuleSpec(
            module_class=DiscreteBCTfModule,
            observation_space=spaces.Box(-1.0, 1.0, (obs_dim,)),
            action_space=spaces.Discrete(2),
            model_config_dict={"fcnet_hiddens": [hidden_dim]},
        )

    return MultiAgentRLModuleSpec(module_specs={"module_1": spec(10, 32), "module_2": spec(5, 16)})


def shared_spec() -> MultiAgentRLModuleSpec:
    """Two modules around one encoder; what they see of their own, and can do, differs in size."""

    def spec(local_dim: int, num_actions: int) -> SingleAgentRLModuleSpec:
        return SingleAgentRLModuleSpec(
            observation_space=spaces.Dict(
                {"global": spaces.Box(-1.0, 1.0, (2,)), "local": spaces.Box(-1.0, 1.0, (local_dim,))}
            ),
            action_space=spaces.Discrete(num_actions),
            model_config_dict={"fcnet_hiddens": [64]},
        )

    return MultiAgentRLModuleSpec(
        marl_module_class=BCTfMultiAgentModuleWithSharedEncoder,
        module_specs={"local_2d": spec(2, 2), "local_5d": spec(5, 5)},
    )


def num_parameters(module: TfRLModule | TfMultiAgentRLModule) -> int:
    """Count the weights; one that several modules use counts once."""
    return sum(int(tf.size(weights)) for weights in module.trainable_variables)


def main() -> None:
    """Build both, and act with both agents of the second."""
    independent, shared = independent_spec().build(), shared_spec().build()
    assert isinstance(independent, TfMultiAgentRLModule)  # for type checkers:
    assert isinstance(shared, TfMultiAgentRLModule)  # a spec may name any class
    for key, module in independent.items():
        assert isinstance(module, TfRLModule)
        print(f"{key}: {num_parameters(module)} parameters")
    print(f"shared encoder: {num_parameters(shared)} parameters")

    batch = {
        "local_2d": {"obs": {"global": tf.zeros([3, 2]), "local": tf.zeros([3, 2])}},
        "local_5d": {"obs": {"global": tf.zeros([4, 2]), "local": tf.zeros([4, 5])}},
    }
    output = shared.forward_exploration(batch)
    print({key: tuple(part["action_dist"].inputs.shape) for key, part in output.items()})

    shared.remove_module("local_2d")
    print(f"without local_2d: {num_parameters(shared)} parameters")


if __name__ == "__main__":
    main()
