"""What the tests on Ray share: one Ray, and what holds for the books of every run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rlmodule_algos.execution.ray_session import Session

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


_entered: list[Session] = []  # one for each file in a row that was given Ray


@pytest.fixture(scope="module", autouse=True)
def one_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep Ray up between the tests of the files in a row that take this fixture as their own."""
    from rlmodule_algos.execution.ray_session import Session

    _entered.append(Session.enter(None, 2))
    yield
    files = [item.path for item in request.session.items]
    after = len(files) - files[::-1].index(request.path)
    following = request.session.items[after : after + 1]
    if not any("one_ray" in getattr(item, "fixturenames", ()) for item in following):
        while _entered:
            _entered.pop().leave()


def steps_add_up(counts: Mapping[str, Any]) -> bool:
    """Whether each step sampled was trained on, was dropped or waits, by a result's "env_runners"."""
    sampled: int = counts["num_env_steps_sampled_lifetime"]
    accounted_for: int = (
        counts["num_env_steps_trained_lifetime"]
        + counts["num_env_steps_dropped_lifetime"]
        + counts["num_env_steps_in_flight"]
    )
    return accounted_for == sampled


def fragments_add_up(health: Mapping[str, int]) -> bool:
    """Whether each fragment asked for came, was dropped or is on its way, by a result's "fault_tolerance"."""
    return health["num_fragments_requested"] == (
        health["num_fragments_delivered"]
        + health["num_dropped_fragments"]
        + health["num_fragments_in_flight"]
    )


def gone(pid: int) -> bool:
    """Whether no process of this number runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask until the answer is yes; AssertionError after so many seconds."""
    deadline = monotonic() + seconds
    while not what():
        assert monotonic() < deadline
        sleep(0.01)
