"""IMPALA: act with weights of a while ago, correct for it with V-trace, take one step.

Source: Espeholt et al. 2018, https://arxiv.org/abs/1802.01561
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rlmodule_algos.actor_learner import ActorLearner
from rlmodule_algos.execution import SampledBatch
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.impala.config import ImpalaConfig
from rlmodule_catalogs import ImpalaCatalog
from rlmodule_core import Columns, RLModule


class Impala(ActorLearner[ImpalaConfig]):
    """Importance weighted actor-learner. `ImpalaConfig.build()` makes one."""

    name: ClassVar[str] = "impala"
    config_class = ImpalaConfig
    default_catalog_class = ImpalaCatalog

    def _take_in(self, new: SampledBatch) -> dict[str, dict[str, float]]:
        """Take one step on the batch."""
        return self.learn(new)

    @property
    def _in_flight(self) -> int:
        return 0  # what was collected is learned from at once

    @classmethod
    def make_loss(
        cls, module: RLModule, config: ImpalaConfig, framework: Framework
    ) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Return the loss of one module, a function of (minibatch, coefficients)."""
        return impala_module_loss(module, config, framework)


def impala_module_loss(
    module: RLModule, config: ImpalaConfig, framework: Framework
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """Return the loss of one module as a function of (batch, coefficients).

    The columns and the result are the framework's tensors, which only the loss itself touches.
    """
    impala_loss = framework.algorithm_part("impala", "loss").impala_loss
    as_distribution = framework.bridge.as_distribution

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Any:
        output = module.forward_train(batch)
        policy = as_distribution(output[Columns.ACTION_DIST])
        return impala_loss(
            logp=policy.logp(batch[Columns.ACTIONS]),
            advantages=batch[Columns.ADVANTAGES],
            values=output[Columns.VF_PREDS],
            value_targets=batch[Columns.VALUE_TARGETS],
            entropy=policy.entropy(),
            mask=batch.get(Columns.LOSS_MASK),
            vf_loss_coeff=config.vf_loss_coeff,
            entropy_coeff=coefficients["entropy_coeff"],
        )

    return loss
