"""Many runners elsewhere, seen as one."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from rlmodule_algos.batching import Fragment
from rlmodule_algos.execution.engine import Engine
from rlmodule_algos.execution.fleet import Fleet
from rlmodule_algos.execution.interrupts import held
from rlmodule_algos.execution.messages import Delivery, Receipt, Snapshot
from rlmodule_algos.execution.tolerance import FaultTolerance
from rlmodule_algos.learning import Added
from rlmodule_algos.sampling import MergedEpisodes
from rlmodule_core import SingleAgentRLModuleSpec
from rlmodule_core.module import State

KEPT_RECEIPTS = 10_000


class RemotePool:
    """Runs `num_env_runners` runners on an engine.

    Synchronous, all runners sample a batch together, on the same weights, and rest while it is learned
    from. Asynchronous (`requests_in_flight` given), each has that many requests before it, and `sample`
    returns what has come. What was not taken yet waits in a queue, where a runner may have its part of a
    batch while it is at work on one fragment more: neither side waits without need, and neither can run
    away from the other.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        num_env_runners: int,
        learns: Callable[[], Collection[str]],
        tolerance: FaultTolerance,
        seed: int,
        requests_in_flight: int | None = None,
        steps_per_request: int | None = None,
        pickled_mapping: Callable[[], bytes] | None = None,
    ) -> None:
        self.episodes = MergedEpisodes()
        self.env_seconds = 0.0
        self.receipts: deque[Receipt] = deque(maxlen=KEPT_RECEIPTS)  # of what `sample` returned, latest last
        self._engine = engine
        self._learns = learns
        self._rng = np.random.default_rng(seed)
        self._requests_in_flight = requests_in_flight
        self._steps_per_request = steps_per_request
        self._pickled_mapping = pickled_mapping  # as the function and what it looks at are now
        self._portion: tuple[int, int] | None = None  # of the last `sample`, as `_portions` returns it
        self._added: dict[str, Added] = {}
        self._num_added = 0
        self._version: int | None = None
        self._num_snapshots = 0
        self._closed = False
        self._pid = os.getpid()
        self._fleet = Fleet(engine, num_env_runners, tolerance, self._draw_seed)
        try:
            self._fleet.start()
        except BaseException:
            self.close()
            raise

    def broadcast(self, version: int, get_weights: Callable[[], State]) -> None:
        """Copy and send the weights, once a version; requests that wait already keep theirs."""
        if version == self._version:
            return
        with held():
            self._num_snapshots += 1
            mapping = None if self._pickled_mapping is None else self._pickled_mapping()
            added, trained = dict(self._added), tuple(self._learns())
            self._fleet.broadcast(
                Snapshot(self._num_snapshots, version, get_weights(), added, trained, mapping)
            )
            self._version = version

    def sample(self, num_env_steps: int) -> dict[str, list[Fragment]]:
        """Return fragments of about `num_env_steps` environment steps, in order of runners.

        Asynchronous: in the order in which they came. Some environments spend steps on resets, which are
        not counted. Raises EnvRunnerError if runners fail too often.
        """
        if self._closed:
            raise RuntimeError("sample: this pool was closed")
        with held():
            if self._requests_in_flight is None:
                deliveries = self._sample_together(num_env_steps)
            else:
                deliveries = self._take_arrived(num_env_steps)
            by_module: dict[str, list[Fragment]] = {}
            for delivery in deliveries:
                self.receipts.append(delivery.receipt)
                self.episodes.add(delivery.episodes)
                self.env_seconds += delivery.env_seconds
                for module_id, fragment in delivery.fragments.items():
                    by_module.setdefault(module_id, []).append(fragment)
            return by_module

    def _sample_together(self, num_env_steps: int) -> list[Delivery]:
        """Give each runner its share; that of one that fails goes to whoever is free first."""
        fleet = self._fleet
        if fleet.num_in_flight:  # of a call that was interrupted, so sampled with older weights
            fleet.refuse_asked()
        size, wanted = self._portions(num_env_steps)
        own = [deque([size] * len(range(slot.index, wanted, len(fleet.slots)))) for slot in fleet.slots]
        for_all: deque[int] = deque()
        while len(fleet.arrived) < wanted:
            for slot in fleet.slots:
                if slot.process is None or (slot.incarnation > 1 and not slot.ready):
                    for_all += own[slot.index]
                    own[slot.index].clear()
                elif not slot.asked and (shares := own[slot.index] or for_all):
                    fleet.ask(slot, shares.popleft())
            fleet.poll()
            for_all += fleet.lost
            fleet.lost.clear()
        deliveries = [fleet.take() for _ in range(wanted)]
        return sorted(deliveries, key=lambda delivery: delivery.receipt)

    def _take_arrived(self, num_env_steps: int) -> list[Delivery]:
        """Take fragments as they come, as many as are needed if every step of theirs is real."""
        fleet, taken = self._fleet, list[Delivery]()
        self._portion = size, wanted = self._portions(num_env_steps)
        try:
            while len(taken) < wanted:
                self._fill_up(size, wanted)
                if fleet.arrived:
                    taken.append(fleet.take())
                else:
                    fleet.poll()
                    fleet.lost.clear()  # others will be asked for in their place
            self._fill_up(size, wanted)
        except BaseException:  # an interrupt, or a runner that failed too often: nobody gets them now
            fleet.put_back(taken)
            raise
        return taken

    def attend(self) -> None:
        """Receive what has come, replace who failed, and ask who has less to do than it may, at once.

        Runners that sample together rest meanwhile. Raises EnvRunnerError if runners fail too often.
        """
        if self._portion is not None:
            with held():
                self._fleet.poll(0.0)
                self._fleet.lost.clear()
                self._fill_up(*self._portion)

    def _portions(self, num_env_steps: int) -> tuple[int, int]:
        """Return the environment steps of a request, and how many of these make a batch."""
        if self._steps_per_request is None:
            num_runners = len(self._fleet.slots)
            return max(1, num_env_steps // num_runners), num_runners
        return self._steps_per_request, max(1, -(-num_env_steps // self._steps_per_request))

    def _fill_up(self, size: int, wanted: int) -> None:
        """Ask every runner for so much that it has something to do while the learner learns.

        That is its part of the next batch, and one fragment more unless there may be one request at a time
        only: what waits grows old, so who sets that wants it new. One that still starts is asked when it is
        ready: the weights of now would be old by then.
        """
        fleet, most_asked = self._fleet, self._requests_in_flight or 1
        part_of_batch = -(-wanted // len(fleet.slots))
        most = max(most_asked, part_of_batch + (most_asked > 1))
        came = Counter(delivery.receipt.runner for delivery in fleet.arrived)
        for slot in fleet.slots:
            while slot.ready and len(slot.asked) < min(most_asked, most - came[slot.index]):
                fleet.ask(slot, size)

    def add_module(self, module_id: str, module_spec: SingleAgentRLModuleSpec | None) -> None:
        """Let runners build the module when they get its first weights."""
        self._num_added += 1
        self._added[module_id] = Added(self._num_added, module_spec)
        self._version = None  # whose weights must be sent again, with the new module's

    def remove_module(self, module_id: str) -> None:
        """Let runners forget the module when they get the next weights; what it acted in is given out."""
        self._added.pop(module_id, None)
        self._version = None

    def health(self) -> dict[str, int]:
        """Return the keys of `health_of_one`, counted over the life of the pool."""
        books = self._fleet.books
        return {
            "num_healthy_env_runners": self._fleet.num_ready,
            "num_restarts": books.restarts,
            "num_fragments_requested": books.requested,
            "num_fragments_delivered": books.delivered,
            "num_dropped_fragments": books.dropped,
            "num_fragments_in_flight": self._fleet.num_in_flight,
        }

    def get_state(self) -> dict[str, Any]:
        """Return the generator that runners are seeded from, and the episodes.

        Not kept: environments, generators and counters of single runners, and what is in flight.
        """
        return {"rng": self._rng.bit_generator.state, "episodes": self.episodes.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Set it; what is in flight is dropped, and every runner starts over with a seed of its own."""
        with held():
            self._rng.bit_generator.state = state["rng"]
            self.episodes.set_state(state["episodes"])
            self._version = None
            self._fleet.start_over()

    def close(self) -> None:
        """End every runner; calling it again, or in a fork of this process, does nothing."""
        if not self._closed and os.getpid() == self._pid:
            self._closed = True
            try:
                self._fleet.kill()
            finally:
                self._engine.close()

    def _draw_seed(self) -> int:
        return int(self._rng.integers(2**31))
