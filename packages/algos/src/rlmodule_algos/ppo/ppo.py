"""PPO: sample a fragment, estimate advantages, take epochs of clipped steps on it.

Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from rlmodule_algos.batching import (
    Fragment,
    advantage_batch,
    counted,
    evaluate_fragment,
    join_batches,
    steps_in_rows,
)
from rlmodule_algos.frameworks import Bridge, Framework
from rlmodule_algos.learning import Limit, adapted_kl_coefficient, value_at
from rlmodule_algos.ppo.config import PPOConfig
from rlmodule_algos.returns import explained_variance, standardize
from rlmodule_algos.sampling_algorithm import SamplingAlgorithm
from rlmodule_algos.settings import ConfigError
from rlmodule_catalogs import PPOCatalog
from rlmodule_core import Columns, RLModule
from rlmodule_core.nest import Nest

FORWARD_COLUMNS = (Columns.OBS, Columns.STATE_IN, Columns.MASK, Columns.IS_FIRST)


class PPO(SamplingAlgorithm[PPOConfig]):
    """Proximal policy optimization. `PPOConfig.build()` makes one."""

    name: ClassVar[str] = "ppo"
    config_class = PPOConfig
    default_catalog_class = PPOCatalog

    def __init__(self, config: PPOConfig) -> None:
        super().__init__(config)
        self._kl_coeffs: dict[str, float] = {}  # beta of (8), adapted; of a new module: the setting

    def training_step(self) -> dict[str, dict[str, float]]:
        """One iteration: Algorithm 1 of the paper."""
        fragments = self.sample_together()
        with self.timed("learn_s"):
            learned = {}
            for module_id in self.learner.trained:
                if module_id in fragments:  # a module whose agents did not act has nothing to learn from
                    batch = self._batch(fragments[module_id], self.modules[module_id])
                    if len(batch[Columns.ADVANTAGES]):  # else every step was burn-in
                        learned[module_id] = self._learn(module_id, batch)
            self.update_normalizers(fragments)
        return learned

    def _learn(self, module_id: str, batch: dict[str, Nest]) -> dict[str, float]:
        config = self.config
        coefficients = {
            "lr": value_at(config.lr, self.env_steps),
            "entropy_coeff": value_at(config.entropy_coeff, self.env_steps),
            "kl_coeff": self._kl_coeff(module_id),
        }
        update = self.learner.update(
            module_id,
            batch,
            num_epochs=config.num_epochs,
            minibatch_size=config.minibatch_size,
            coefficients=coefficients,
            steps=steps_in_rows(batch),
            limit=None if config.kl_stop is None else Limit("mean_kl", config.kl_stop),
        )
        moved = self._adapt_kl_coeff(module_id, batch, update.num_steps) if config.use_kl_loss else {}
        return {
            **update.means,
            **moved,
            "vf_explained_var": explained_variance(
                counted(batch, Columns.VF_PREDS), counted(batch, Columns.VALUE_TARGETS)
            ),
            "num_updates": update.num_steps,
            "num_skipped_updates": update.num_skipped,
            **{f"curr_{name}": value for name, value in coefficients.items()},
        }

    def _adapt_kl_coeff(self, module_id: str, batch: dict[str, Nest], num_updates: int) -> dict[str, float]:
        """Adapt beta by how far the whole update moved the policy: d of section 4."""
        config = self.config
        moved = kl_from_old(batch, self.modules[module_id], self.framework.bridge)
        if num_updates:  # else every step was skipped, which says nothing of beta
            self._kl_coeffs[module_id] = adapted_kl_coefficient(
                self._kl_coeff(module_id), mean_kl=moved, target=config.kl_target
            )
        return {"kl_after_update": moved}

    def _kl_coeff(self, module_id: str) -> float:
        return self._kl_coeffs.get(module_id, self.config.kl_coeff)

    def _batch(self, fragments: Sequence[Fragment], module: RLModule) -> dict[str, Nest]:
        """Return all real steps, or all sequences, with advantages and value targets."""
        config = self.config
        batch = join_batches(
            [
                advantage_batch(
                    fragment,
                    evaluate_fragment(fragment, module, self.framework.bridge),
                    gamma=config.gamma,
                    lambda_=config.lambda_,
                )
                for fragment in fragments
            ]
        )
        if config.use_kl_loss and Columns.ACTION_DIST_INPUTS not in batch:
            raise ConfigError(
                "training: use_kl_loss needs a distribution with flat parameters, but the one of "
                f"{type(module).__name__} is the framework's own; return TorchCategorical, say"
            )
        if config.standardize_advantages:
            batch[Columns.ADVANTAGES] = standardize(batch[Columns.ADVANTAGES], batch.get(Columns.LOSS_MASK))
        return batch

    @classmethod
    def make_loss(
        cls, module: RLModule, config: PPOConfig, framework: Framework
    ) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Return the loss of one module, a function of (minibatch, coefficients)."""
        return ppo_module_loss(module, config, framework)

    def remove_module(self, module_id: str) -> None:
        """Remove a module; see `Algorithm.remove_module`."""
        super().remove_module(module_id)
        self._kl_coeffs.pop(module_id, None)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data."""
        return {**super().get_state(), "kl_coeffs": dict(self._kl_coeffs)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; the environments start anew. See `restore` for a safe way."""
        kl_coeffs = dict(state["kl_coeffs"])
        super().set_state(state)
        self._kl_coeffs = kl_coeffs


def kl_from_old(batch: dict[str, Nest], module: RLModule, bridge: Bridge) -> float:
    """Return the mean of KL(old || new) over the steps that count, in one forward without gradient.

    `old` is the policy whose parameters the batch holds, `new` the module as it is.
    """
    given = {name: batch[name] for name in FORWARD_COLUMNS if name in batch}
    with bridge.no_grad():
        tensors = {name: bridge.to_tensors(column, module.device) for name, column in given.items()}
        output = bridge.call(module, "forward_train", tensors)
        new: Any = bridge.as_distribution(output[Columns.ACTION_DIST]).to_numpy()  # as the old one had a form
    old = new.with_inputs(batch[Columns.ACTION_DIST_INPUTS])
    return float(np.mean(counted({**batch, "kl": old.kl(new)}, "kl")))


def ppo_module_loss(
    module: RLModule, config: PPOConfig, framework: Framework
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """Return the loss of one module as a function of (minibatch, coefficients).

    The columns and the result are the framework's tensors, which only the loss itself touches.
    """
    part = framework.algorithm_part("ppo", "loss")
    as_distribution = framework.bridge.as_distribution

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Any:
        output = module.forward_train(batch)
        policy = as_distribution(output[Columns.ACTION_DIST])
        kl = None
        if config.use_kl_loss:
            (before,) = part.zero_padding(batch.get(Columns.LOSS_MASK), batch[Columns.ACTION_DIST_INPUTS])
            kl = policy.with_inputs(before).kl(policy)
        return part.ppo_loss(
            logp=policy.logp(batch[Columns.ACTIONS]),
            old_logp=batch[Columns.ACTION_LOGP],
            advantages=batch[Columns.ADVANTAGES],
            values=output[Columns.VF_PREDS],
            old_values=batch[Columns.VF_PREDS],
            value_targets=batch[Columns.VALUE_TARGETS],
            entropy=policy.entropy(),
            kl=kl,
            mask=batch.get(Columns.LOSS_MASK),
            clip_param=config.clip_param,
            vf_clip_mode=config.vf_clip_mode,
            vf_clip_param=config.vf_clip_param,
            vf_loss_coeff=config.vf_loss_coeff,
            entropy_coeff=coefficients["entropy_coeff"],
            kl_coeff=coefficients["kl_coeff"],
        )

    return loss
