"""Runners and learners as Ray actors; importing it needs `rlmodule-algos[ray]`.

Fragments and weights go through Ray's object store, from which arrays are read without a copy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

from rlmodule_algos.execution.engine import Doomed, Process, Ref
from rlmodule_algos.execution.learner_group import SMALL, Question
from rlmodule_algos.execution.messages import Delivery, Request, Snapshot
from rlmodule_algos.execution.ray_session import Session, cloudpickle, ray
from rlmodule_algos.execution.ray_surroundings import make_sure_of_the_end
from rlmodule_algos.execution.remote_learner import MakeLearning, RemoteLearner
from rlmodule_algos.execution.remote_runner import MakeActing, RemoteRunner
from rlmodule_algos.learning import Lesson
from rlmodule_algos.learning.data_parallel import FlatArray
from rlmodule_algos.settings import ConfigError

_remote: Any = cache(ray.remote(max_restarts=0, max_task_retries=0))  # Ray keeps each class that it makes


def pickle_by_value(value: object, what: str) -> bytes:
    """Pickle classes and functions of a script too. Raises ConfigError where `what` cannot be pickled."""
    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:  # whatever the pickling of a user's object raises
        raise ConfigError(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error
    return data


class RayRunner:
    """The actor: a `RemoteRunner` and the snapshot that it has."""

    def __init__(self, make: bytes, index: int, incarnation: int, seed: int) -> None:
        made: MakeActing = cloudpickle.loads(make)
        self._runner = RemoteRunner(made, index, incarnation, seed)

    def ready(self) -> int:
        """Return the process id; called first, it is there once environments and modules are made."""
        return os.getpid()

    def sample(self, request: Request, snapshot_number: int, snapshot: list[Ref]) -> Delivery:
        """Sample; the snapshot comes in a list, so that it is read only if it is new."""
        if self._runner.lacks(snapshot_number):
            self._runner.apply(cast(Snapshot, ray.get(snapshot[0])))
        return self._runner.sample(request)


class RayLearner:
    """The actor: a `RemoteLearner` and the lesson that it has."""

    def __init__(self, make: bytes, index: int, incarnation: int, seed: int) -> None:
        self._learner = RemoteLearner(cloudpickle.loads(make), seed)

    def ready(self) -> int:
        """Return the process id; called first, it is there once the modules are made."""
        return os.getpid()

    def answer(self, question: Question, weights: FlatArray) -> Any:
        """Do what is asked; the lesson is read only if it is new."""
        if self._learner.lacks(question.number):
            self._learner.begin(question.number, cast(Lesson, ray.get(question.lesson)))
        return getattr(self._learner, question.method)(*question.arguments, weights)


class RayActors:
    """Starts actors of one class, on a Ray of our own or on the cluster that `address` names."""

    def __init__(
        self, actor: type, make: object, setter: str, *, count: int, address: str | None, num_gpus: int = 0
    ) -> None:
        pickled = pickle_by_value(
            make,
            f"{setter}: the config cannot be sent to {setter.replace('_', ' ')} in other processes; an "
            "environment or a module in it",
        )
        self._session: Session | None = Session.enter(address, count)
        self._folder = self._session.folder
        place = {"num_cpus": 0} if address is None else {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
        self._actor = _remote(actor).options(num_gpus=num_gpus, **place)
        self._make = pickled if len(pickled) <= SMALL else ray.put(pickled)  # see `ray_connection`

    def start(self, index: int, incarnation: int, seed: int) -> Process:
        """Start an actor."""
        self._require_ray()
        handle: Any = self._actor.remote(self._make, index, incarnation, seed)
        return Process(handle, handle.ready.remote())

    def put(self, value: object) -> Ref:
        """Store something for all actors."""
        self._require_ray()
        return ray.put(value)

    def wait(self, refs: Sequence[Ref], timeout: float) -> list[Ref]:
        """Return what is there; waiting for the first does not hide the others."""
        self._require_ray()
        if not ray.wait(list(refs), num_returns=1, timeout=timeout)[0]:
            return []
        ready: list[Ref] = ray.wait(list(refs), num_returns=len(refs), timeout=0)[0]
        return ready

    def get(self, ref: Ref) -> Any:
        """Return a result, or raise as Ray does."""
        return ray.get(ref)

    def kill(self, processes: Sequence[Doomed]) -> None:
        """End actors. On a Ray of our own also those that were stopped and cannot obey."""
        if self._session is not None and self._session.alive:
            for process, _ in processes:
                ray.kill(process.handle)
            if self._folder is not None:
                make_sure_of_the_end([pid for _, pid in processes if pid is not None], self._folder)

    def _require_ray(self) -> None:
        """Raise RuntimeError where Ray is gone: Ray would start another, which others could reach."""
        if self._session is None:
            raise RuntimeError("this algorithm was stopped, perhaps by another thread: build another")
        if not self._session.alive:
            raise RuntimeError("Ray was shut down under this algorithm: stop() it and build another")

    def close(self) -> None:
        """Leave the session."""
        if self._session is not None:
            session, self._session = self._session, None
            session.leave()


class RayEngine(RayActors):
    """Runners."""

    def __init__(self, make: MakeActing, *, num_env_runners: int, address: str | None) -> None:
        super().__init__(RayRunner, make, "env_runners", count=num_env_runners, address=address)

    def sample(self, process: Process, request: Request, snapshot_number: int, snapshot: Ref) -> Ref:
        """Ask an actor for a fragment."""
        self._require_ray()
        return process.handle.sample.remote(request, snapshot_number, [snapshot])


class RayLearnerEngine(RayActors):
    """Learners."""

    def __init__(self, make: MakeLearning, *, num_learners: int, device: str, address: str | None) -> None:
        num_gpus = 0 if device == "cpu" else 1
        super().__init__(RayLearner, make, "learners", count=num_learners, address=address, num_gpus=num_gpus)
        if (found := ray.cluster_resources().get("GPU", 0)) < num_learners * num_gpus:
            self.close()
            raise ConfigError(
                f"learners: num_learners={num_learners} with device={device!r} takes a GPU for each learner, "
                f"and Ray finds {found:g}; ask for fewer, or for device='cpu'"
            )

    def ask(self, process: Process, question: Question, weights: Ref) -> Ref:
        """Ask an actor; Ray hands it what the reference of the weights stands for."""
        self._require_ray()
        return process.handle.answer.remote(question, weights)

    def died(self, error: Exception) -> bool:
        """Whether an error tells of a process that died."""
        return isinstance(error, ray.exceptions.RayActorError)
