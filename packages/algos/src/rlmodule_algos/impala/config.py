"""IMPALA's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from rlmodule_algos.actor_learner import ActorLearnerConfig

if TYPE_CHECKING:
    from rlmodule_algos.impala.impala import Impala


class ImpalaConfig(ActorLearnerConfig):
    """IMPALA's settings. The losses are means over steps, where the paper's are sums.

    >>> ImpalaConfig().environment("CartPole-v1").training(vtrace_clip_rho_threshold=2.0).lr
    0.001
    """

    hints: ClassVar[Mapping[str, str]] = {
        **ActorLearnerConfig.hints,
        **dict.fromkeys(("clip_param", "clip_range"), "a setting of PPO and APPO"),
        **dict.fromkeys(("use_kl_loss", "kl_coeff", "kl_target", "target_kl"), "a setting of PPO and APPO"),
        **dict.fromkeys(("standardize_advantages", "normalize_advantage"), "a setting of PPO and APPO"),
        **dict.fromkeys(("tau", "target_network_update_freq", "target_worker_clipping"), "a setting of APPO"),
        "circular_buffer_num_batches": "a setting of APPO",
        "circular_buffer_iterations_per_batch": "a setting of APPO",
    }

    def build(self) -> Impala:
        """Make the environments and the module, and return the algorithm, ready to train."""
        from rlmodule_algos.impala.impala import Impala

        return Impala(self)
