"""What runs where a runner is: its environments, its copy of the modules, its generator."""

from __future__ import annotations

import pickle
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np

from rlmodule_algos.execution.messages import Delivery, Receipt, Request, Snapshot
from rlmodule_algos.frameworks import Bridge
from rlmodule_algos.learning import Added
from rlmodule_algos.sampling import EpisodeMeter, PolicyMapping, Runner
from rlmodule_core import MultiAgentRLModule, RLModule, SingleAgentRLModuleSpec
from rlmodule_core.multi_agent import OWN


class Acting(Protocol):
    """Environments and the modules that act in them."""

    runner: Runner
    modules: MultiAgentRLModule
    bridge: Bridge
    trained: tuple[str, ...]  # whose steps are recorded

    def build_module(self, module_id: str, spec: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins the others."""

    def map_with(self, policy_mapping_fn: PolicyMapping) -> None:
        """Let agents be mapped with another function from their next episode on."""


class MakeActing(Protocol):
    """Travels to where a runner is, by pickle, and makes there what it needs."""

    def __call__(self, seed: int) -> Acting:
        """Make the environments and the modules; what the modules weigh does not matter yet."""


class RemoteRunner:
    """Samples one fragment a request, with the weights that come with it.

    New weights are applied between two fragments only, so all steps of one are of the same policy.
    """

    def __init__(self, make: MakeActing, index: int, incarnation: int, seed: int) -> None:
        self._index = index
        self._incarnation = incarnation
        self._seed = seed
        self._acting = make(seed)
        self._meter = EpisodeMeter(self._acting.runner.episodes)
        self._snapshot_number = -1
        self._version = 0
        self._added: dict[str, Added] = {}
        self._mapping: bytes | None = None

    def lacks(self, snapshot_number: int) -> bool:
        """Whether a snapshot is another than the one in use."""
        return snapshot_number != self._snapshot_number

    def apply(self, snapshot: Snapshot) -> None:
        """Take over its modules, also those that joined, without those that left."""
        acting, ids = self._acting, set(snapshot.states) - {OWN}
        if snapshot.mapping is not None and snapshot.mapping != self._mapping:
            acting.map_with(pickle.loads(snapshot.mapping))
            self._mapping = snapshot.mapping
        replaced = {key for key in acting.modules if self._added.get(key) != snapshot.added.get(key)}
        for key in [key for key in acting.modules if key not in ids or key in replaced]:
            acting.modules.remove_module(key)
            acting.runner.forget(key)
        for key in sorted(ids - set(acting.modules)):
            acting.modules.add_module(key, acting.build_module(key, snapshot.added[key].spec))
        acting.modules.set_state(snapshot.states)
        acting.trained = snapshot.trained
        self._added = dict(snapshot.added)
        self._snapshot_number, self._version = snapshot.number, snapshot.version

    def sample(self, request: Request) -> Delivery:
        """Return one fragment of each module that acted. Raises EnvError if an environment fails."""
        runner = self._acting.runner
        if request.seed != self._seed:
            self._start_over(request.seed)
        steps, env_seconds = max(1, request.num_env_steps // runner.num_envs), runner.env_seconds
        with self._few_threads():
            fragments = runner.collect(steps, weights_version=self._version)
        counts = self._meter.read()
        receipt = Receipt(
            runner=self._index,
            incarnation=self._incarnation,
            sequence=request.sequence,
            epoch=request.epoch,
            weights_version=self._version,
            num_env_steps=counts.num_steps,
        )
        return Delivery(receipt, fragments, counts, runner.env_seconds - env_seconds)

    def _start_over(self, seed: int) -> None:
        runner = self._acting.runner
        generator = np.random.default_rng(seed).bit_generator.state
        runner.set_state({"rng": generator, "episodes": runner.get_state()["episodes"]})
        self._acting.bridge.seed(seed)
        self._seed = seed

    def _few_threads(self) -> AbstractContextManager[None]:
        """One thread a runner: there are several."""
        return self._acting.bridge.threads(1)
