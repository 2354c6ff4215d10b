"""Behaviour cloning's smallest module: one hidden layer from observation vector to discrete action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlmodule_core import Columns, NestedDict, RLModuleConfig, distribution_config
from rlmodule_core.bc_sizes import discrete_bc_head, discrete_bc_sizes
from rlmodule_tf.module import TfRLModule


class DiscreteBCTfModule(TfRLModule):
    """Maps `obs` `[*batch, n]` of a Box of rank 1 to `action_dist` over a Discrete space, in every phase.

    `model_config_dict["fcnet_hiddens"][0]` is the size of the hidden layer. Its state and its checkpoints
    are those of its twin in the other framework. Raises ValueError for other spaces and settings.
    """

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        sizes = discrete_bc_sizes(config, where=type(self).__name__)
        self.input_dim = sizes.obs
        self.make_distribution = distribution_config(config.action_space).build("tf")
        self.policy = discrete_bc_head(sizes).build("tf")

    def _forward_train(self, batch: NestedDict) -> Mapping[str, Any]:
        return {Columns.ACTION_DIST: self.make_distribution(self.policy(batch[Columns.OBS]))}

    def _forward_exploration(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)

    def _forward_inference(self, batch: NestedDict) -> Mapping[str, Any]:
        return self._forward_train(batch)
