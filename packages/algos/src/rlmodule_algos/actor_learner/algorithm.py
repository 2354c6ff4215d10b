"""What IMPALA and APPO share: those that act are a copy, a few updates behind those that learn.

In one process the order is fixed, collect, learn, broadcast, so that a seed gives the same run. With
runners elsewhere the same functions run while the runners go on sampling: learning on a thread of its own,
and what comes from the runners is received, and who fails replaced, on the thread that called `train()`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np

from rlmodule_algos.actor_learner.config import ActorLearnerConfig, vtrace_settings
from rlmodule_algos.actor_learner.results import lags, took_a_step
from rlmodule_algos.actor_learner.threaded import ThreadedAlgorithm
from rlmodule_algos.batching import (
    LOG_RATIOS,
    Evaluation,
    Fragment,
    counted,
    evaluate_fragment,
    join_batches,
    ratio_statistics,
    steps_in_rows,
    vtrace_batch,
)
from rlmodule_algos.execution import LocalPool, OwnModules, SampledBatch, held, released
from rlmodule_algos.learning import value_at
from rlmodule_algos.reporting import Result
from rlmodule_algos.returns import explained_variance
from rlmodule_algos.sampling import World
from rlmodule_core import (
    Columns,
    MultiAgentRLModule,
    RLModule,
    SingleAgentRLModuleSpec,
    initial_weights_from,
)
from rlmodule_core.nest import Nest

Config = TypeVar("Config", bound=ActorLearnerConfig)


class ActorLearner(ThreadedAlgorithm[Config]):
    """An algorithm that corrects for the age of the weights that acted."""

    asynchronous = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._version = 0  # updates so far
        self._sent: int | None = None  # the version that acts; None: nothing was sent as yet
        self._trained = 0  # environment steps that were learned from, each counted once
        self._dropped = 0  # and those that never will be
        self._joined: dict[str, int] = {}  # the version with which each module came that joined

    def _start(self, world: World, seed: int) -> None:
        if self.config.num_env_runners:
            super()._start(world, seed)
            return
        acting = self._build_copies()
        runner = world.runner(acting, self.framework.bridge, learns=lambda: self.learner.trained, seed=seed)
        own = OwnModules(acting, self._build_copy)
        self.pool = LocalPool(runner, own=own, fragment_length=self.config.rollout_fragment_length)

    def _build_copies(self) -> MultiAgentRLModule:
        """Return modules like those that learn, whose weights are still to be set."""
        with self.framework.bridge.on_device(self.config.device), _any_weights():
            return self._setup.build()

    def _build_copy(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None) -> RLModule:
        with self.framework.bridge.on_device(self.config.device), _any_weights():
            return self._setup.build_one(module_id, module_spec)

    def training_step(self) -> dict[str, dict[str, float]]:
        """One iteration: a batch from those that act, and what is to be learned with it."""
        with held():  # or an interrupt between two lines could lose the batch
            if self._thread is None:
                return self._learn_with(self.collect())
            self._thread.finish(self.pool.attend)  # of a call that was interrupted
            new = self.collect()
            return self._thread.run(lambda: self._learn_with(new), self.pool.attend)

    def _learn_with(self, new: SampledBatch) -> dict[str, dict[str, float]]:
        with self.timed("learn_s"), self._few_threads():  # which is set for each thread
            learned = self._take_in(new)
            self.update_normalizers(new.fragments)
        return learned

    @abc.abstractmethod
    def _take_in(self, new: SampledBatch) -> dict[str, dict[str, float]]:
        """Take the steps that are due now that a batch has come; returns `{module id: results}`."""

    # --- the parts of a training step ---------------------------------------------------------

    def collect(self) -> SampledBatch:
        """Send the weights if it is time, and return what was sampled, `train_batch_size` steps or more."""
        if self._sent is None or self._version - self._sent >= self.config.broadcast_interval:
            with self.timed("broadcast_s"):
                self.pool.broadcast(self._version, self.modules.get_state)
            self._sent = self._version
        before = self.env_steps
        try:
            with self.timed_sampling():
                fragments = self.pool.sample(self.config.train_batch_size)
        except BaseException:
            self._dropped += self.env_steps - before
            raise
        return SampledBatch(self._of_those_here(fragments), self.env_steps - before)

    def _of_those_here(self, fragments: Mapping[str, Sequence[Fragment]]) -> dict[str, list[Fragment]]:
        """Leave out what a module sampled that left before another came under its id."""
        return {
            key: [one for one in several if one.weights_version >= self._joined.get(key, 0)]
            for key, several in fragments.items()
        }

    def learn(self, batch: SampledBatch) -> dict[str, dict[str, float]]:
        """Take one step with every module that has data; returns `{module id: results}`.

        What a module could take no step on, as its gradient was not finite, leaves the batch. That counts as
        trained once a module took a step on it, and as dropped where none did and none will; so also where
        this raises.
        """
        learned: dict[str, dict[str, float]] = {}
        try:
            for module_id in self.learner.trained:
                if fragments := batch.fragments.get(module_id):  # else its agents did not act
                    with released():
                        took = self._take_step(module_id, fragments)
                    if took is not None:
                        learned[module_id] = {**took, **lags(fragments, self._version)}
                        if not took["num_updates"]:
                            batch.forget(module_id)  # it would be no better another time
        finally:
            self._version += 1  # weights may have changed, also where another module raised
            self._account(batch, trained=took_a_step(learned))
        return learned

    def _take_step(self, module_id: str, fragments: Sequence[Fragment]) -> dict[str, float] | None:
        """Take a step with one module; None where every step of the fragments was burn-in."""
        with self.timed("correct_s"):
            rows = self._batch(module_id, fragments)
        return self._learn(module_id, rows) if len(rows[Columns.ADVANTAGES]) else None

    def _account(self, batch: SampledBatch, *, trained: bool) -> None:
        if batch.trained:
            return  # each step is counted once
        if trained:
            batch.trained = True
            self._trained += batch.num_env_steps
        elif not self._comes_again(batch):
            self._dropped += batch.num_env_steps

    def _comes_again(self, batch: SampledBatch) -> bool:
        """Whether a batch that was just learned from is kept for another time."""
        return False

    def _learn(self, module_id: str, batch: dict[str, Nest]) -> dict[str, float]:
        config = self.config
        coefficients = {
            "lr": value_at(config.lr, self.env_steps),
            "entropy_coeff": value_at(config.entropy_coeff, self.env_steps),
            "kl_coeff": self._kl_coeff(module_id),
        }
        log_ratios = counted(batch, LOG_RATIOS)
        statistics = ratio_statistics(log_ratios, config.vtrace_clip_rho_threshold)
        update = self.learner.update(
            module_id,
            {name: column for name, column in batch.items() if name != LOG_RATIOS},
            num_epochs=1,
            minibatch_size=len(log_ratios),
            coefficients=coefficients,
            steps=steps_in_rows(batch),
        )
        return {
            **statistics,
            **update.means,
            "vf_explained_var": explained_variance(
                counted(batch, Columns.VF_PREDS), counted(batch, Columns.VALUE_TARGETS)
            ),
            "num_updates": update.num_steps,
            "num_skipped_updates": update.num_skipped,
            **{f"curr_{name}": value for name, value in coefficients.items()},
        }

    def _batch(self, module_id: str, fragments: Sequence[Fragment]) -> dict[str, Nest]:
        """Return all real steps, or all sequences, corrected for the age of the policy that acted."""
        module, bridge = self.modules[module_id], self.framework.bridge
        settings = vtrace_settings(self.config)
        return join_batches(
            [
                vtrace_batch(
                    fragment,
                    evaluate_fragment(fragment, module, bridge),
                    settings,
                    self._evaluate_target(module_id, fragment),
                )
                for fragment in fragments
            ]
        )

    def _evaluate_target(self, module_id: str, fragment: Fragment) -> Evaluation | None:
        """Return what a target network says of a fragment; None: there is none."""
        return None

    def _kl_coeff(self, module_id: str) -> float:
        """Return the weight of the KL penalty now."""
        return 0.0

    # --- the run --------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def _in_flight(self) -> int:
        """Environment steps that were sampled and are still to be learned from."""

    def train(self) -> Result:
        """Run one iteration; see `Algorithm.train`.

        `env_runners/` also tells what became of the steps: sampled = trained + dropped + in flight.
        """
        before = self._trained
        result = super().train()
        result["env_runners"] |= {
            "num_env_steps_trained": self._trained - before,
            "num_env_steps_trained_lifetime": self._trained,
            "num_env_steps_dropped_lifetime": self._dropped,
            "num_env_steps_in_flight": self._in_flight,
        }
        return result

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on; see `Algorithm.add_module`."""
        module = super().add_module(module_id, module_spec)
        self._version += 1  # so that what a module of this id sampled that left is known to be another's
        self._joined[module_id] = self._version
        self._sent = None  # it has to act with its weights
        return module

    def remove_module(self, module_id: str) -> None:
        """Remove a module; its agents are mapped anew. KeyError that lists the ids for an unknown one."""
        super().remove_module(module_id)
        self._joined.pop(module_id, None)
        self._sent = None  # runners elsewhere have to hear of it

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs; what is in flight is not kept, and counts as dropped."""
        return {
            **super().get_state(),
            "version": self._version,
            "trained": self._trained,
            "dropped": self._dropped + self._in_flight,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned; the environments start anew. See `restore` for a safe way."""
        version, trained, dropped = state["version"], state["trained"], state["dropped"]
        super().set_state(state)
        self._version, self._trained, self._dropped = version, trained, dropped
        self._sent = None
        self._joined.clear()  # nothing is in flight


def _any_weights() -> AbstractContextManager[None]:
    """Initial weights that `broadcast` overwrites, drawn without moving the generator of the run."""
    return initial_weights_from(np.random.default_rng(0))
