"""IMPALA's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlmodule_algos.actor_learner import ActorLearnerConfig

if TYPE_CHECKING:
    from rlmodule_algos.impala.impala import Impala


class ImpalaConfig(ActorLearnerConfig):
    """IMPALA's settings. The losses are means over steps, where the paper's are sums.

    >>> ImpalaConfig().environment("CartPole-v1").training(vtrace_clip_rho_threshold=2.0).lr
    0.001
    """

    def build(self) -> Impala:
        """Make the environments and the module, and return the algorithm, ready to train."""
        from rlmodule_algos.impala.impala import Impala

        return Impala(self)
