"""APPO: IMPALA's actors and V-trace, PPO's clipped objective around a target network, batches used again.

Sources: Luo et al. 2020, "IMPACT", https://arxiv.org/abs/1912.00167, which RLlib calls APPO; V-trace:
Espeholt et al. 2018, https://arxiv.org/abs/1802.01561; the objective and its KL penalty: Schulman et al.
2017, https://arxiv.org/abs/1707.06347. Three policies take part: mu acted, pi learns, pi_T is the target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from rlmodule_algos.actor_learner import ActorLearner, merged_results, took_a_step
from rlmodule_algos.appo.config import APPOConfig
from rlmodule_algos.batching import TARGET_LOGP, Evaluation, Fragment, evaluate_fragment
from rlmodule_algos.execution import CircularBuffer, SampledBatch
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import TargetNetworks, adapted_kl_coefficient
from rlmodule_algos.returns import standardize
from rlmodule_algos.settings import ConfigError
from rlmodule_catalogs import APPOCatalog
from rlmodule_core import Columns, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import Nest


class APPO(ActorLearner[APPOConfig]):
    """Asynchronous PPO, as IMPACT has it. `APPOConfig.build()` makes one."""

    name: ClassVar[str] = "appo"
    config_class = APPOConfig
    default_catalog_class = APPOCatalog

    def __init__(self, config: APPOConfig) -> None:
        super().__init__(config)
        try:
            self._targets = TargetNetworks(self.modules, self._build_copies)
        except BaseException:  # of a module that can be built once only, say
            self.stop()
            raise
        self._buffer = CircularBuffer(
            config.circular_buffer_num_batches, config.circular_buffer_iterations_per_batch
        )
        self._steps_since_target = 0
        self._kl_coeffs: dict[str, float] = {}  # adapted; of a new module: the setting

    def _learn_with(self, new: SampledBatch) -> dict[str, dict[str, float]]:
        self._targets.copy_what_was_set()  # since the last call
        try:
            return super()._learn_with(new)
        finally:
            self._targets.remember()

    def _take_in(self, new: SampledBatch) -> dict[str, dict[str, float]]:
        """Take a step on each batch of the buffer that is due."""
        self._count_dropped(self._buffer.push(new))
        learned = []
        for batch in self._buffer.due():
            learned.append(self.learn(batch))
            if took_a_step(learned[-1]):
                self._follow(batch)
            if not self._comes_again(batch):
                self._buffer.discard(batch)
        return merged_results(learned)

    def _follow(self, batch: SampledBatch) -> None:
        """Let the target networks follow every `target_network_update_freq` steps."""
        self._steps_since_target += batch.num_env_steps
        if self._steps_since_target >= self.config.target_network_update_freq:
            self._targets.update(self.config.tau)
            self._steps_since_target = 0

    def _learn(self, module_id: str, batch: dict[str, Nest]) -> dict[str, float]:
        config, was_copy = self.config, self._targets.is_copy(module_id)
        learned = super()._learn(module_id, batch)
        if learned["num_updates"]:
            self._targets.part(module_id)
            if config.use_kl_loss and not was_copy:  # else the KL was 0 by itself
                self._kl_coeffs[module_id] = adapted_kl_coefficient(
                    self._kl_coeff(module_id), mean_kl=learned["mean_kl"], target=config.kl_target
                )
        return {**learned, "num_target_updates": self._targets.num_updates}

    def _batch(self, module_id: str, fragments: Sequence[Fragment]) -> dict[str, Nest]:
        batch = super()._batch(module_id, fragments)
        if self.config.use_kl_loss and Columns.ACTION_DIST_INPUTS not in batch:
            raise ConfigError(
                "training: use_kl_loss needs a distribution with flat parameters, but the one of "
                f"{type(self.modules[module_id]).__name__} is the framework's own; return "
                "TorchCategorical, say"
            )
        if not self.config.use_kl_loss:
            batch.pop(Columns.ACTION_DIST_INPUTS, None)
        if self.config.standardize_advantages:
            batch[Columns.ADVANTAGES] = standardize(batch[Columns.ADVANTAGES], batch.get(Columns.LOSS_MASK))
        return batch

    def _evaluate_target(self, module_id: str, fragment: Fragment) -> Evaluation:
        return evaluate_fragment(fragment, self._targets[module_id], self.framework.bridge)

    def _kl_coeff(self, module_id: str) -> float:
        return self._kl_coeffs.get(module_id, self.config.kl_coeff)

    @classmethod
    def make_loss(
        cls, module: RLModule, config: APPOConfig, framework: Framework
    ) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Return the loss of one module, a function of (minibatch, coefficients)."""
        return appo_module_loss(module, config, framework)

    # --- the run --------------------------------------------------------------------------------

    @property
    def _in_flight(self) -> int:
        return self._buffer.unused_env_steps

    def _comes_again(self, batch: SampledBatch) -> bool:
        some_left = any(module_id in batch.fragments for module_id in self.learner.trained)
        return some_left and batch.uses < self.config.circular_buffer_iterations_per_batch

    def _count_dropped(self, batch: SampledBatch | None) -> None:
        if batch is not None and not batch.trained:
            self._dropped += batch.num_env_steps

    def _update_normalizer(self, module_id: str, obs: Nest) -> None:
        super()._update_normalizer(module_id, obs)
        self._targets[module_id].update_normalizer(obs)  # or pi_T and pi would differ where weights do not

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on; see `Algorithm.add_module`."""
        module = super().add_module(module_id, module_spec)
        self._targets.add(module_id, self._build_copy(module_id, module_spec))
        return module

    def remove_module(self, module_id: str) -> None:
        """Remove a module; its agents are mapped anew. KeyError that lists the ids for an unknown one."""
        super().remove_module(module_id)
        self._targets.remove(module_id)
        self._buffer.forget(module_id)  # or another one of this id would learn from it
        self._kl_coeffs.pop(module_id, None)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs but the buffer, which fills again."""
        return {
            **super().get_state(),
            "targets": self._targets.get_state(),
            "steps_since_target": self._steps_since_target,
            "kl_coeffs": dict(self._kl_coeffs),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; environments and buffer start anew. See `restore` for a safe way."""
        targets, steps, kl_coeffs = state["targets"], state["steps_since_target"], dict(state["kl_coeffs"])
        super().set_state(state)
        self._targets.set_state(targets)
        self._steps_since_target, self._kl_coeffs = steps, kl_coeffs
        self._buffer.clear()


def appo_module_loss(
    module: RLModule, config: APPOConfig, framework: Framework
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """Return the loss of one module as a function of (batch, coefficients).

    The columns and the result are the framework's tensors, which only the loss itself touches.
    """
    part = framework.algorithm_part("appo", "loss")
    as_distribution = framework.bridge.as_distribution

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Any:
        output = module.forward_train(batch)
        policy = as_distribution(output[Columns.ACTION_DIST])
        kl = None
        if config.use_kl_loss:
            (target,) = part.zero_padding(batch.get(Columns.LOSS_MASK), batch[Columns.ACTION_DIST_INPUTS])
            kl = policy.with_inputs(target).kl(policy)
        return part.appo_loss(
            logp=policy.logp(batch[Columns.ACTIONS]),
            old_logp=batch[Columns.ACTION_LOGP],
            target_logp=batch[TARGET_LOGP],
            advantages=batch[Columns.ADVANTAGES],
            values=output[Columns.VF_PREDS],
            value_targets=batch[Columns.VALUE_TARGETS],
            entropy=policy.entropy(),
            kl=kl,
            mask=batch.get(Columns.LOSS_MASK),
            clip_param=config.clip_param,
            target_worker_clipping=config.target_worker_clipping,
            vf_loss_coeff=config.vf_loss_coeff,
            entropy_coeff=coefficients["entropy_coeff"],
            kl_coeff=coefficients["kl_coeff"],
        )

    return loss
