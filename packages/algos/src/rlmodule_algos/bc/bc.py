"""BC: raise the likelihood of the recorded actions.

Source: Pomerleau 1989, "ALVINN: an autonomous land vehicle in a neural network"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rlmodule_algos.algorithm import Algorithm
from rlmodule_algos.batching import steps_in_rows
from rlmodule_algos.bc.config import BCConfig
from rlmodule_algos.bc.data import ModuleData, ModuleEpisodes, read_by_module
from rlmodule_algos.execution import held
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.learning import value_at
from rlmodule_algos.module_setup import policy_mapping
from rlmodule_algos.offline import OfflineDataError
from rlmodule_algos.sampling import Episodes, EpisodeTracker, World, require_one_logp_each
from rlmodule_catalogs import BCCatalog
from rlmodule_core import Columns, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.nest import leaves

VALIDATED_STEPS = 4096
"""So many steps of the validation episodes give `validation_loss`, so that its cost has a bound."""


class BC(Algorithm[BCConfig]):
    """Behaviour cloning. `BCConfig.build()` makes one."""

    name: ClassVar[str] = "bc"
    config_class = BCConfig
    default_catalog_class = BCCatalog

    def _start(self, world: World, seed: int) -> None:
        self._agents = dict(world.agents)
        world.close()  # evaluation makes its own
        self._seed = seed
        self._steps = 0
        self._episodes = EpisodeTracker(0)
        self._data: dict[str, ModuleData] = {}
        if self.config.input_ is not None:
            given = self._read()
            for module_id in self.learner.trained:
                self._take(module_id, given)
            if not self._data:
                trained = sorted(self.learner.trained)
                raise OfflineDataError(
                    "offline_data",
                    [f"no episode is of an agent whose module learns; those are {trained}"],
                )

    def _read(self) -> ModuleEpisodes:
        config = self.config
        return read_by_module(
            config.input_,
            self._agents,
            policy_mapping(config.policy_mapping_fn),
            validation_fraction=config.validation_fraction,
            seed=self._seed,
        )

    def _take(self, module_id: str, given: ModuleEpisodes) -> None:
        """Let a module learn from its part of the data, if it has one."""
        data = given.data_of(module_id, self.modules[module_id], self.framework.bridge, self._seed)
        if data is not None:
            self._data[module_id] = data

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None = None) -> RLModule:
        """Add a module that learns from the next iteration on, from the episodes of its agents.

        The data is read again, and the agents are those that are mapped to it now; what other modules learn
        from stays. Raises OfflineDataError for data that is not as it was, beside what every algorithm
        raises, before anything is changed.
        """
        given = None if self.config.input_ is None else self._read()
        module = super().add_module(module_id, module_spec)
        if given is not None:
            self._take(module_id, given)
        return module

    def remove_module(self, module_id: str) -> None:
        """Remove a module, with its data; KeyError that lists the ids for an unknown one."""
        super().remove_module(module_id)
        self._data.pop(module_id, None)

    @property
    def env_steps(self) -> int:
        """Recorded steps that were learned from, of all modules, over the life of the run."""
        return self._steps

    @property
    def episodes(self) -> Episodes:
        """None: nothing is sampled."""
        return self._episodes

    def training_step(self) -> dict[str, dict[str, float]]:
        """One iteration: `num_epochs` passes over the next `train_batch_size` recorded steps of each module.

        Raises ValueError if there is no data.
        """
        if not self._data:
            raise ValueError(
                "train: there is nothing to learn from: call .offline_data(input_=...) before build(), with "
                "a Minari dataset, .npz or Parquet files, or a list of episodes"
            )
        with self.timed("learn_s"):
            return {module_id: self._learn(module_id, data) for module_id, data in self._data.items()}

    def _learn(self, module_id: str, data: ModuleData) -> dict[str, float]:
        config = self.config
        lr = value_at(config.lr, data.num_steps)
        batch = data.feed.next(config.train_batch_size)
        steps = steps_in_rows(batch)
        update = self.learner.update(
            module_id,
            batch,
            num_epochs=config.num_epochs,
            minibatch_size=config.minibatch_size,
            coefficients={"lr": lr},
            steps=steps,
        )
        used = len(leaves(batch[Columns.ACTIONS])[0]) if steps is None else int(steps.sum())
        used = used if update.num_steps else 0  # no gradient was finite: nothing was learned
        with held():
            data.num_steps += used
            self._steps += used
        return {
            **update.means,
            "validation_loss": data.validation_loss(VALIDATED_STEPS),
            "num_steps_trained": used,
            "num_updates": update.num_steps,
            "num_skipped_updates": update.num_skipped,
            "curr_lr": lr,
        }

    @classmethod
    def make_loss(
        cls, module: RLModule, config: BCConfig, framework: Framework
    ) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
        """Return the loss of one module, a function of (minibatch, coefficients)."""
        return bc_module_loss(module, framework)

    def get_state(self) -> dict[str, Any]:
        """Return everything a resumed run needs, as arrays and JSON data; the data itself is given again."""
        data = {module_id: data.get_state() for module_id, data in self._data.items()}
        return {**super().get_state(), "steps": self._steps, "data": data}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set what `get_state` returned. See `restore` for a safe way."""
        steps, saved = state["steps"], state["data"]
        super().set_state(state)
        self._steps = steps
        for module_id, data in self._data.items():
            if module_id in saved:
                data.set_state(saved[module_id])


def bc_module_loss(
    module: RLModule, framework: Framework
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """Return the loss of one module as a function of (minibatch, coefficients)."""
    bc_loss = framework.algorithm_part("bc", "loss").bc_loss
    as_distribution = framework.bridge.as_distribution
    axes = 2 if module.is_stateful() else 1  # `[B, T]` or `[B]`

    def loss(batch: Mapping[str, Any], coefficients: Mapping[str, Any]) -> Any:
        policy = as_distribution(module.forward_train(batch)[Columns.ACTION_DIST])
        logp = policy.logp(batch[Columns.ACTIONS])
        steps = leaves(batch[Columns.ACTIONS])[0].shape[:axes]
        require_one_logp_each(module, "forward_train", logp.shape, steps)
        return bc_loss(
            logp=logp,
            entropy=policy.entropy(),
            mask=batch.get(Columns.LOSS_MASK),
        )

    return loss
